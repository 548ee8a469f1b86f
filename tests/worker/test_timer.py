import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import an_execution
from crewserve.worker import timer as timing
from crewserve.worker.timer import Timer

SOON = timedelta(milliseconds=60)


class Unavailable(MemoryStore):
    """Fails the first time."""

    failed = False

    def let_in(self, **options: Any) -> Future[datetime | None]:
        if self.failed:
            return super().let_in(**options)
        self.failed = True
        future: Future[datetime | None] = Future()
        future.set_exception(StorageUnavailable())
        return future


def clock() -> datetime:
    return datetime.now(UTC)


class Hall:
    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.timer = Timer(self.store, clock)
        self.let_in: asyncio.Queue[tuple[Execution, datetime]] = asyncio.Queue()
        self.store.on_let_in(self._note)

    def _note(self, executions: Any) -> None:
        for execution in executions:
            self.let_in.put_nowait((execution, clock()))

    def add(self, delay: timedelta) -> Execution:
        now = clock()
        execution = an_execution(created_at=now, available_at=now + delay)
        self.store.add(execution).result()
        return execution

    async def next(self) -> Execution:
        async with asyncio.timeout(20):
            execution, at = await self.let_in.get()
        assert at >= execution.available_at
        return execution

    async def until_it_waits(self) -> None:
        async with asyncio.timeout(20):
            while self.timer._next is None:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.timer.keep())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_it_finds_is_let_in_when_its_time_has_come_and_not_before() -> None:
    hall = Hall()
    second, first = hall.add(2 * SOON), hall.add(SOON)
    async with hall.open():
        assert [await hall.next(), await hall.next()] == [first, second]


async def test_what_is_expected_later_is_not_waited_for_by_what_comes_before() -> None:
    hall = Hall()
    hall.add(timedelta(hours=1))
    async with hall.open():
        await hall.until_it_waits()
        sooner = hall.add(SOON)
        hall.timer.expect(sooner.available_at)
        assert await hall.next() == sooner


async def test_what_another_process_expects_is_found_by_looking(monkeypatch: Any) -> None:
    monkeypatch.setattr(timing, "EVERY", timedelta(milliseconds=50))
    hall = Hall()
    async with hall.open():
        await hall.until_it_waits()
        unexpected = hall.add(SOON)
        assert await hall.next() == unexpected


async def test_it_goes_on_when_the_database_does(monkeypatch: Any) -> None:
    monkeypatch.setattr(timing, "EVERY", timedelta(milliseconds=50))
    hall = Hall(Unavailable())
    later = hall.add(SOON)
    async with hall.open():
        assert await hall.next() == later
