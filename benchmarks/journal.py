"""What recording each step costs: `python -m benchmarks.journal [--runs 100]`.

A flow of ten steps that do nothing, kicked off in this process with and without a journal, in turn.
The journal is the real one (codec, SQLite, `synchronous=FULL`), less the socket between the
execution's process and the supervisor.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.servers import QUIET, ROOT
from crewserve.domain.ids import WorkerName
from crewserve.domain.step import Step
from crewserve.ports import Held
from crewserve.storage.schema import migrate
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.sqlite import open_sqlite_for_writing
from crewserve.storage.writer import Writer
from crewserve.testing.builders import an_execution

STEPS: Final = 10
OWNER: Final = WorkerName("benchmark:1:0:00")


def main() -> None:
    """Prints the median of both, and the ratio."""
    parser = argparse.ArgumentParser("python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    data = ROOT / ".crewserve"
    data.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data) as folder:
        os.environ.update(QUIET, CREWAI_STORAGE_DIR=folder)
        engine = open_sqlite_for_writing(Path(folder) / "journal.db")
        migrate(engine)
        writer = Writer(engine)
        writer.start()
        plain, kept = asyncio.run(_measured(SqlStore(writer, engine.dialect), runs))
        writer.close()
        engine.dispose()
    print(
        f"{STEPS} steps, {runs} runs each: {plain * 1e3:.1f} ms without a journal, "
        f"{kept * 1e3:.1f} ms with one, ratio {kept / plain:.2f}, "
        f"{(kept - plain) / STEPS * 1e3:.2f} ms a step"
    )


async def _measured(store: SqlStore, runs: int) -> tuple[float, float]:
    from benchmarks.flows.ten_steps_flow import TenStepsFlow  # noqa: PLC0415  # after QUIET
    from crewserve.crew import premade  # noqa: PLC0415
    from crewserve.crew.durable import make_durable  # noqa: PLC0415

    premade.flow(TenStepsFlow)
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * runs + 2):
        journaled = bool(number % 2)
        held = await _claimed(store)
        flow = TenStepsFlow()
        if journaled:
            make_durable(flow, [], lambda raw, held=held: _record(store, held, raw), lambda: None)
        began = time.perf_counter()
        await flow.kickoff_async()
        if number > 1:  # the first of each is slower
            times[journaled].append(time.perf_counter() - began)
    return statistics.median(times[False]), statistics.median(times[True])


async def _claimed(store: SqlStore) -> Held:
    now = datetime.now(UTC)
    execution = an_execution(available_at=now)
    store.add(execution)
    expiry = now + timedelta(minutes=1)
    claim = store.claim(OWNER, flows=[execution.flow], limit=1, lease_expires_at=expiry, now=now)
    [claimed] = await asyncio.wrap_future(claim)
    return Held(claimed.id, claimed.fence)


def _record(store: SqlStore, held: Held, raw: dict[str, Any]) -> "Future[None]":
    fields = {name: raw[name] for name in ("position", "name", "call", "result", "state")}
    now = datetime.now(UTC)
    step = Step(**fields, digest="0" * 64, attempt=1, started_at=now, ended_at=now)
    return store.record(held, step, replaces=False)


if __name__ == "__main__":
    main()
