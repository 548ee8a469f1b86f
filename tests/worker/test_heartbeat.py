"""What a worker tells of itself, and what it hears."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.worker import HEARTBEAT, Worker, WorkerState
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_worker
from crewserve.testing.fakes import FrozenClock
from crewserve.testing.stores import ANN, BOB
from crewserve.worker.heartbeat import Heartbeat
from crewserve.worker.roll_call import RollCall

SECONDS = 20


class BrokenStore(MemoryStore):
    """Refuses the first heartbeats."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def beat(self, worker: Worker) -> Future[bool]:
        if self.refusals == 0:
            return super().beat(worker)
        self.refusals -= 1
        refused: Future[bool] = Future()
        refused.set_exception(StorageUnavailable())
        return refused


@dataclass
class Bench:
    store: MemoryStore
    heard: "asyncio.Queue[bool]" = field(default_factory=asyncio.Queue)
    clock: FrozenClock = field(default_factory=FrozenClock)

    def __post_init__(self) -> None:
        self.heartbeat = Heartbeat(ANN, self.store, a_worker, self.heard.put_nowait, self.clock)

    async def hears(self) -> bool:
        async with asyncio.timeout(SECONDS):
            return await self.heard.get()

    async def state(self) -> WorkerState:
        return (await self.store.worker(ANN)).state


async def beating_bench(store: MemoryStore) -> AsyncIterator[Bench]:
    found = Bench(store)
    keeping = asyncio.create_task(found.heartbeat.keep())
    async with asyncio.timeout(SECONDS):
        while ANN not in await store.present():
            await asyncio.sleep(0)
    yield found
    keeping.cancel()
    await asyncio.wait([keeping])


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async for found in beating_bench(MemoryStore()):
        yield found


async def test_a_request_is_heard_at_once_by_the_one_it_is_for(bench: Bench) -> None:
    bench.store.request_drain(ANN, NOW)
    bench.heartbeat.look(BOB)
    await asyncio.sleep(0.01)
    assert bench.heard.empty()
    bench.heartbeat.look(ANN)
    assert await bench.hears() is True
    bench.store.request_drain(ANN, None)
    bench.heartbeat.look(ANN)
    assert await bench.hears() is False


async def test_a_request_that_nobody_told_is_heard_with_the_next_beat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crewserve.worker.heartbeat.HEARTBEAT", HEARTBEAT / 1000)
    async for bench in beating_bench(MemoryStore()):
        bench.store.request_drain(ANN, NOW)
        assert await bench.hears() is True
        await asyncio.sleep(0.05)
        assert bench.heard.empty()


async def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewserve.worker.heartbeat.HEARTBEAT", HEARTBEAT / 1000)
    async for bench in beating_bench(BrokenStore(3)):
        assert await bench.state() is WorkerState.ACTIVE


async def test_the_end_of_a_process_is_seen_from_its_beginning(bench: Bench) -> None:
    bench.heartbeat.retire()
    assert await bench.state() is WorkerState.DRAINING
    bench.heartbeat.leave()
    assert await bench.state() is WorkerState.STOPPED
    bench.heartbeat.retire()
    assert await bench.state() is WorkerState.STOPPED


async def test_whose_process_is_gone_is_noted_as_lost() -> None:
    store = MemoryStore()
    for name in (ANN, BOB):
        store.beat(a_worker(name))
    await RollCall(store, lambda name: name == BOB, FrozenClock()).call()
    assert await store.present() == [ANN]
    assert (await store.worker(BOB)).state is WorkerState.LOST
