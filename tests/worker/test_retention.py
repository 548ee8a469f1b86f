"""What ended long ago is archived once, and then forgotten."""

import asyncio
import json
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution, Returned
from crewserve.domain.ids import ExecutionId
from crewserve.domain.query import ExecutionQuery, Order
from crewserve.domain.status import Status
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_line, a_step, an_entry, an_execution
from crewserve.testing.fakes import FakeFiles, FrozenClock
from crewserve.testing.stores import add_running, done, held_by
from crewserve.worker import archive as archiving
from crewserve.worker import retention as retaining
from crewserve.worker.archive import Archive, Records
from crewserve.worker.retention import Keeping, Retention

DAY = timedelta(days=1)


class Fragile(MemoryStore):
    """Fails as often as told, before it forgets."""

    failures = 0

    def forget(self, ids: Collection[ExecutionId], *, most: int) -> Future[bool]:
        if not self.failures:
            return super().forget(ids, most=most)
        self.failures -= 1
        failed: Future[bool] = Future()
        failed.set_exception(StorageUnavailable())
        return failed


class Attic:
    """All that retention works with."""

    def __init__(self, folder: Path, **keeping: Any) -> None:
        self.store, self.files, self.clock = Fragile(), FakeFiles(), FrozenClock()
        self.folder, self.keeping = folder, Keeping(**keeping)

    def retention(self) -> Retention:
        """As a process that has just begun makes it."""
        records = Records(reader=self.store, events=self.store, output=self.store)
        return Retention(
            keeping=self.keeping,
            store=self.store,
            files=self.files,
            archive=Archive(self.folder, records),
            clock=self.clock,
        )

    async def add(self, number: int, **changes: Any) -> Sequence[Execution]:
        added = [an_execution(Status.COMPLETED, **changes) for _ in range(number)]
        for execution in added:
            await done(self.store.add(execution))
        return added

    def file(self, day: str) -> Path:
        """The only one."""
        [path] = self.folder.iterdir()
        assert path.name == f"{day}.jsonl"
        return path

    def archived(self) -> list[dict[str, Any]]:
        files = sorted(self.folder.glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def archived_ids(self) -> list[str]:
        return [one["execution"]["execution_id"] for one in self.archived()]


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "LEAST_REST_SECONDS", 0)


async def test_what_is_too_old_is_written_down_whole_and_forgotten(tmp_path: Path) -> None:
    attic = Attic(tmp_path, age=DAY)
    running = await add_running(attic.store)
    held = held_by(running)
    await done(attic.store.record(held, a_step(result="\ud800 half")))
    await done(attic.store.append(held, [an_entry("a"), an_entry("b")]))
    await done(attic.store.append_lines(held, [a_line(1), a_line(2)]))
    await done(attic.store.change(running.id, Returned({"poem": "ü"}), now=NOW))
    attic.clock.now = NOW + 2 * DAY
    [young] = await attic.add(1, completed_at=attic.clock.now)
    assert await attic.retention().sweep() == 1
    assert await attic.store.page(ExecutionQuery()) == [young]
    assert attic.files.removed == [running.id]
    [kept] = attic.archived()
    assert kept["execution"]["result"] == {"poem": "ü"}
    assert [one["worker"] for one in kept["execution"]["attempts"]] == ["ann:1:0:00"]
    assert [one["result"] for one in kept["steps"]] == ["\ud800 half"]
    types = [one["type"] for one in kept["events"]]
    assert types == ["execution_accepted", "attempt_started", "a", "b", "execution_completed"]
    assert [one["text"] for one in kept["logs"]] == ["line 1", "line 2"]
    path = attic.file("2026-01-03")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_newest_are_kept_by_their_number(tmp_path: Path) -> None:
    attic = Attic(tmp_path, count=30)
    added = await attic.add(250)
    assert await attic.retention().sweep() == 220
    assert await attic.store.page(ExecutionQuery(order=Order.OLDEST)) == added[220:]
    assert attic.archived_ids() == [str(one.id) for one in added[:220]]
    assert await attic.retention().sweep() == 0


async def test_nothing_is_archived_twice_whatever_fails(tmp_path: Path) -> None:
    attic = Attic(tmp_path, age=DAY)
    added = await attic.add(150)
    attic.clock.now += 2 * DAY
    for retention in (attic.retention(), attic.retention()):
        attic.store.failures = 2
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await retention.sweep()
        attic.clock.now += DAY
    assert len(attic.archived()) == 100
    assert await attic.retention().sweep() == 150
    assert attic.archived_ids() == [str(one.id) for one in added]


async def test_another_process_goes_on_where_one_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "BLOCK", 100)
    attic = Attic(tmp_path, age=DAY)
    first = await attic.add(2)
    attic.clock.now += 2 * DAY
    ann, bob = attic.retention(), attic.retention()
    assert await bob.sweep() == 2
    second = await attic.add(70)
    attic.store.failures = 1
    with pytest.raises(StorageUnavailable):
        await ann.sweep()
    assert await bob.sweep() == 70
    assert attic.archived_ids() == [str(one.id) for one in (*first, *second)]


async def test_a_line_that_a_crash_cut_is_written_again(tmp_path: Path) -> None:
    attic = Attic(tmp_path, age=DAY)
    added = await attic.add(3)
    attic.clock.now += 2 * DAY
    attic.store.failures = 1
    with pytest.raises(StorageUnavailable):
        await attic.retention().sweep()
    path = attic.file("2026-01-03")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert await attic.retention().sweep() == 3
    assert attic.archived_ids() == [str(one.id) for one in added]
    assert path.read_bytes() == whole


async def test_nothing_is_forgotten_that_could_not_be_written_down(tmp_path: Path) -> None:
    attic = Attic(tmp_path / "file" / "folder", age=DAY)
    (tmp_path / "file").write_text("no folder")
    await attic.add(1)
    attic.clock.now += 2 * DAY
    keeping = asyncio.create_task(attic.retention().keep())
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert len(await attic.store.page(ExecutionQuery())) == 1
    assert not keeping.done()
    keeping.cancel()
