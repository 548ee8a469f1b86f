import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.fakes import FrozenClock
from crewserve.worker import sweeper as sweeping
from crewserve.worker.sweeper import Sweeper

MINUTE = timedelta(minutes=1)


class Unavailable(MemoryStore):
    """Fails the first time."""

    failed = False

    def dispatch(self, **options: Any) -> Future[list[Execution]]:
        if self.failed:
            return super().dispatch(**options)
        self.failed = True
        future: Future[list[Execution]] = Future()
        future.set_exception(StorageUnavailable())
        return future


@dataclass
class Yard:
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FrozenClock = field(default_factory=FrozenClock)
    announced: list[ExecutionId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sweeper = Sweeper(self.store, self.announce, self.clock)

    def announce(self, claimable: Any, recorded: "Future[Any] | None" = None) -> None:
        self.announced += [execution.id for execution in claimable]

    def add(self, **changes: Any) -> ExecutionId:
        execution = an_execution(**changes)
        self.store.add(execution).result()
        return execution.id

    @asynccontextmanager
    async def swept(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.sweeper.keep())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def until_announced(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.announced) < count:
                await asyncio.sleep(0)


async def test_what_nobody_has_claimed_for_a_minute_is_announced_at_the_start() -> None:
    yard = Yard()
    old = [yard.add() for _ in range(3)]
    yard.add(created_at=NOW + MINUTE, available_at=NOW + MINUTE)
    yard.clock.advance(MINUTE)
    async with yard.swept():
        await yard.until_announced(3)
    assert yard.announced == old


async def test_all_that_may_have_got_lost_is_announced_at_once_and_once() -> None:
    yard = Yard()
    before = yard.add()
    async with yard.swept():
        yard.clock.advance(MINUTE / 2)
        meanwhile = yard.add(created_at=yard.clock(), available_at=yard.clock())
        yard.sweeper.make_up_for(NOW)
        await yard.until_announced(2)
        yard.sweeper.make_up_for(NOW)
        yard.clock.advance(timedelta(seconds=1))
        after = yard.add(created_at=yard.clock(), available_at=yard.clock())
        yard.sweeper.make_up_for(NOW)
        await yard.until_announced(3)
    assert yard.announced == [before, meanwhile, after]


async def test_more_than_a_batch_is_announced(monkeypatch: Any) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    yard = Yard()
    waiting = [yard.add() for _ in range(5)]
    yard.clock.advance(MINUTE)
    async with yard.swept():
        await yard.until_announced(5)
    assert yard.announced == waiting


async def test_a_sweep_that_the_database_refused_is_made_up_for() -> None:
    yard = Yard(Unavailable())
    waiting = yard.add()
    yard.sweeper.make_up_for(NOW)
    async with yard.swept():
        async with asyncio.timeout(5):
            while not yard.store.failed:  # type: ignore[attr-defined]  # it is `Unavailable`
                await asyncio.sleep(0)
        yard.sweeper.make_up_for(NOW + MINUTE)
        await yard.until_announced(1)
    assert yard.announced == [waiting]
