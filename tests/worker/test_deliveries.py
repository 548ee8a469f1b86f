"""A supervisor that gets what it may claim from a broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_new_id, an_execution
from crewserve.testing.fakes import FakeHost, FrozenClock, waiting_host
from crewserve.worker import deliveries as delivering
from crewserve.worker.deliveries import Deliveries
from crewserve.worker.leases import LeaseKeeper
from crewserve.worker.supervisor import Supervisor
from tests.support.recording import recording

LEASE = timedelta(seconds=30)
ANN = WorkerName("ann:1:0:00")
POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")
CRASH = Failure(code=FailureCode.WORKER_LOST, message="crash")


@dataclass
class Counter:
    """Where messages are handed over."""

    store: MemoryStore
    host: FakeHost
    clock: FrozenClock
    deliveries: Deliveries
    supervisor: Supervisor
    announced: list[Execution]
    expected: list[datetime]

    def add(self, **changes: Any) -> Execution:
        execution = an_execution(**changes)
        self.store.add(execution).result()
        return execution

    def deliver(self, execution: Execution) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.deliveries.deliver(execution.id))

    async def until_it_runs(self) -> None:
        async with asyncio.timeout(5):
            while not self.host.running:
                await asyncio.sleep(0)

    async def status(self, execution: Execution) -> Status:
        return (await self.store.get(execution.id)).status


@asynccontextmanager
async def a_counter(host: FakeHost | None = None) -> AsyncIterator[Counter]:
    store, host, clock = MemoryStore(), host or FakeHost(), FrozenClock()
    wake, announced, expected = asyncio.Event(), list[Execution](), list[datetime]()
    deliveries = Deliveries(wake, clock)
    supervisor = Supervisor(
        name=ANN,
        store=store,
        reader=store,
        host=host,
        catalog=FlowCatalog({POEM.name: POEM}),
        flows=[POEM.name],
        leases=LeaseKeeper(store, ANN, LEASE, host.live_until, clock),
        wake=wake,
        announce=lambda claimable, recorded=None: announced.extend(claimable),
        expect=expected.append,
        slots=8,
        has_memory=lambda: True,
        is_busy=lambda: False,
        lease=LEASE,
        drain=timedelta(),
        clock=clock,
        record_events=recording(store),
        deliveries=deliveries,
    )
    task = asyncio.create_task(supervisor.keep())
    try:
        yield Counter(store, host, clock, deliveries, supervisor, announced, expected)
    finally:
        supervisor.stop()
        await asyncio.wait_for(task, 5)


async def test_what_is_delivered_is_run_and_nothing_else() -> None:
    async with a_counter() as counter:
        others = [counter.add() for _ in range(3)]
        delivered = counter.add()
        assert await counter.deliver(delivered) is True
        assert await counter.status(delivered) is Status.COMPLETED
        assert {await counter.status(other) for other in others} == {Status.PENDING}


async def test_many_that_come_together_are_all_run() -> None:
    async with a_counter(FakeHost(room=3)) as counter:
        messages = [counter.deliver(counter.add()) for _ in range(20)]
        assert await asyncio.gather(*messages) == [True] * 20
        assert len(counter.host.runs) == 20


async def test_what_comes_again_while_it_runs_has_done_its_work() -> None:
    async with a_counter(waiting_host()) as counter:
        execution = counter.add()
        first = counter.deliver(execution)
        await counter.until_it_runs()
        assert await counter.deliver(execution) is True
        counter.host.finish.set()
        assert await first is True
        assert len(counter.host.runs) == 1


async def test_two_messages_that_come_together_run_it_once() -> None:
    async with a_counter() as counter:
        execution = counter.add()
        assert await asyncio.gather(*(counter.deliver(execution) for _ in range(5))) == [True] * 5
        assert len(counter.host.runs) == 1


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.RUNNING])
async def test_a_late_message_does_nothing(status: Status) -> None:
    async with a_counter() as counter:
        execution = counter.add(status=status)
        assert await counter.deliver(execution) is True
        assert await counter.deliver(replace(execution, id=a_new_id())) is True
        assert await counter.store.get(execution.id) == execution


async def test_what_finds_no_room_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "PATIENCE_SECONDS", 0.05)
    async with a_counter(FakeHost(room=0)) as counter:
        execution = counter.add()
        assert await counter.deliver(execution) is False
        assert await counter.status(execution) is Status.PENDING
        counter.host.room = 1
        assert await counter.deliver(execution) is True


async def test_what_waits_when_the_worker_stops_goes_back_at_once() -> None:
    async with a_counter(FakeHost(room=0)) as counter:
        message = counter.deliver(counter.add())
        await asyncio.sleep(0)
        counter.supervisor.stop()
        assert await asyncio.wait_for(message, 1) is False
        assert await counter.deliver(counter.add()) is False


async def test_what_the_drain_interrupts_goes_back_when_it_is_pending_again() -> None:
    async with a_counter(waiting_host()) as counter:
        execution = counter.add()
        message = counter.deliver(execution)
        await counter.until_it_runs()
        counter.supervisor.stop()
        assert await message is False
        assert await counter.status(execution) is Status.PENDING
        assert len(counter.host.killed) == 1
    assert counter.announced == []


async def test_an_attempt_that_may_follow_at_once_is_delivered_again() -> None:
    async with a_counter(FakeHost(outcome=CRASH)) as counter:
        execution = counter.add(policy=Policy(max_attempts=2, backoff_seconds=0))
        assert await counter.deliver(execution) is False
        assert await counter.deliver(execution) is True
        assert await counter.status(execution) is Status.FAILED
    assert counter.announced == []


async def test_an_attempt_that_follows_later_is_left_to_the_timer() -> None:
    async with a_counter(FakeHost(outcome=CRASH)) as counter:
        execution = counter.add(policy=Policy(max_attempts=2, backoff_seconds=60))
        assert await counter.deliver(execution) is True
        assert counter.announced == []
        again = await counter.store.get(execution.id)
        assert (again.status, again.attempt) == (Status.PENDING, 1)
        assert counter.expected == [again.available_at]
        assert again.available_at > NOW


async def test_one_that_is_paused_gives_back_until_it_goes_on() -> None:
    async with a_counter(FakeHost()) as counter:
        counter.supervisor.pause()
        execution = counter.add()
        assert await counter.deliver(execution) is False
        assert await counter.status(execution) is Status.PENDING
        counter.supervisor.resume()
        assert await counter.deliver(execution) is True
        assert await counter.status(execution) is Status.COMPLETED
