import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from crewserve.application import flow_reports
from crewserve.application.catalog import FlowCatalog
from crewserve.application.flow_reports import FlowFollowing, FlowReporting
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.flow import LOADING, FlowDescription, FlowHealth, FlowSpec
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.ports import FlowReport
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW
from crewserve.testing.fakes import FrozenClock

ANN = WorkerName("ann:1:0:00")
POEM, SONG = FlowName("poem_flow"), FlowName("song_flow")
READY = FlowDescription(health=FlowHealth.READY, description="Writes.")
BROKEN = FlowDescription(health=FlowHealth.BROKEN, error="no")


class Unavailable(MemoryStore):
    """Fails the first time."""

    failed = False

    def report(self, reports: Sequence[FlowReport]) -> Future[None]:
        if self.failed:
            return super().report(reports)
        self.failed = True
        future: Future[None] = Future()
        future.set_exception(StorageUnavailable())
        return future


def a_catalog(*names: FlowName) -> FlowCatalog:
    return FlowCatalog({name: FlowSpec(name=name, ref=f"m:{name}") for name in names})


@pytest.mark.parametrize("store", [MemoryStore(), Unavailable()])
async def test_what_a_worker_finds_out_reaches_a_host_that_loads_nothing(
    store: MemoryStore, monkeypatch: Any
) -> None:
    monkeypatch.setattr(flow_reports, "EVERY_SECONDS", 0)
    worker, api = a_catalog(POEM, SONG), a_catalog(POEM)
    reporting = FlowReporting(worker, store, ANN, FrozenClock())
    tasks = [
        asyncio.create_task(duty) for duty in (reporting.keep(), FlowFollowing(api, store).keep())
    ]
    reporting.describe({POEM: READY, SONG: BROKEN})
    assert worker.description(SONG) == BROKEN
    async with asyncio.timeout(5):
        while api.description(POEM) != READY:
            await asyncio.sleep(0)
    assert api.description(SONG) is LOADING
    reporting.describe({POEM: BROKEN})
    async with asyncio.timeout(5):
        while api.description(POEM) != BROKEN:
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    reports = {report.name: report for report in await store.reported()}
    assert reports[SONG] == FlowReport(
        name=SONG, ref="m:song_flow", description=BROKEN, worker=ANN, reported_at=NOW
    )
