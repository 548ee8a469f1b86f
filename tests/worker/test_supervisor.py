import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.ports import Finished, Outcome
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.fakes import FakeHost, FrozenClock
from crewserve.worker.leases import LeaseKeeper
from crewserve.worker.supervisor import Supervisor

LEASE = timedelta(seconds=30)
ANN = WorkerName("ann:1:0:00")
POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


class ForgetfulStore(MemoryStore):
    """Refuses the first replacement."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 1

    def replace(self, before: Execution, after: Execution) -> Future[None]:
        if self.refusals == 0:
            return super().replace(before, after)
        self.refusals -= 1
        future: Future[None] = Future()
        future.set_exception(StorageUnavailable())
        return future


@dataclass
class Desk:
    store: MemoryStore
    host: FakeHost
    supervisor: Supervisor

    async def submit(self, **changes: Any) -> Execution:
        execution = an_execution(**changes)
        self.store.add(execution).result()
        self.supervisor.wake.set()
        return execution

    async def until(self, execution: Execution, status: Status) -> Execution:
        async with asyncio.timeout(5):
            while (found := await self.store.get(execution.id)).status is not status:
                await asyncio.sleep(0)
        return found

    async def until_it_runs(self) -> None:
        async with asyncio.timeout(5):
            while not self.host.running:
                await asyncio.sleep(0)


@asynccontextmanager
async def a_desk(
    flow: FlowSpec = POEM,
    host: FakeHost | None = None,
    store: MemoryStore | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    store, host, clock = store or MemoryStore(), host or FakeHost(), FrozenClock()
    leases = LeaseKeeper(store, ANN, LEASE, host.live_until, clock)
    settings = {"slots": 8, "has_memory": lambda: True, **options}
    supervisor = Supervisor(
        name=ANN,
        store=store,
        host=host,
        catalog=FlowCatalog({flow.name: flow}),
        leases=leases,
        wake=asyncio.Event(),
        lease=LEASE,
        clock=clock,
        **settings,
    )
    task = asyncio.create_task(supervisor.keep())
    try:
        yield Desk(store, host, supervisor)
    finally:
        supervisor.stop()
        await asyncio.wait_for(task, 5)


def waiting_host() -> FakeHost:
    host = FakeHost()
    host.finish.clear()
    return host


async def test_what_is_pending_is_run_and_its_output_recorded() -> None:
    async with a_desk() as desk:
        completed = await desk.until(await desk.submit(), Status.COMPLETED)
    assert (completed.result, completed.attempt, completed.lease_owner) == ("done", 1, None)


async def test_the_result_model_is_filled_from_the_final_state() -> None:
    flow = replace(POEM, shape_result=lambda state: {"poem": state["poem"]})
    host = FakeHost(outcome=Finished({"poem": "roses", "secret": 1}, "ignored"))
    async with a_desk(flow, host) as desk:
        assert (await desk.until(await desk.submit(), Status.COMPLETED)).result == {"poem": "roses"}


async def test_a_state_that_does_not_fit_the_result_model_fails() -> None:
    def refuse(_: Mapping[str, Any]) -> Any:
        raise ValueError("poem: missing")

    async with a_desk(replace(POEM, shape_result=refuse)) as desk:
        failed = await desk.until(await desk.submit(), Status.FAILED)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.INVALID_OUTPUT
    assert "poem: missing" in failed.failure.message


async def test_a_failure_is_recorded_as_it_is() -> None:
    failure = Failure(code=FailureCode.FLOW_ERROR, message="boom", step="write")
    async with a_desk(host=FakeHost(outcome=failure)) as desk:
        assert (await desk.until(await desk.submit(), Status.FAILED)).failure == failure


async def test_a_defect_of_the_host_ends_the_execution_and_tells_nothing_of_itself() -> None:
    class BrokenHost(FakeHost):
        async def run(self, flow: FlowSpec, execution: Execution) -> Outcome:
            raise KeyError("secret detail")

    async with a_desk(host=BrokenHost()) as desk:
        failed = await desk.until(await desk.submit(), Status.FAILED)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.WORKER_LOST
    assert "secret" not in failed.failure.message


async def test_no_more_run_than_there_are_slots() -> None:
    host = waiting_host()
    async with a_desk(host=host, slots=2) as desk:
        executions = [await desk.submit() for _ in range(5)]
        await desk.until(executions[1], Status.RUNNING)
        assert len(host.running) <= 2
        host.finish.set()
        for execution in executions:
            await desk.until(execution, Status.COMPLETED)


async def test_nothing_is_claimed_without_room_or_memory() -> None:
    async with a_desk(host=FakeHost(room=0)) as full, a_desk(has_memory=lambda: False) as poor:
        first, second = await full.submit(), await poor.submit()
        await asyncio.sleep(0.05)
        assert (await full.store.get(first.id)).status is Status.PENDING
        assert (await poor.store.get(second.id)).status is Status.PENDING


async def test_stopping_kills_what_runs_and_hands_it_back() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.submit()
        await desk.until_it_runs()
    back = await desk.store.get(execution.id)
    assert (back.status, back.attempt, back.fence) == (Status.PENDING, 0, 1)
    assert len(host.killed) == 1


async def test_a_lost_lease_kills_and_writes_nothing() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.submit()
        await desk.until_it_runs()
        [reaped] = desk.store.reap(lost=[ANN], limit=1, now=NOW).result()
        await desk.supervisor.leases._renew()
        async with asyncio.timeout(5):
            while not host.killed:
                await asyncio.sleep(0)
    assert await desk.store.get(execution.id) == reaped


async def test_an_outcome_waits_until_the_database_is_back() -> None:
    store = ForgetfulStore()
    async with a_desk(store=store) as desk:
        await desk.until(await desk.submit(), Status.COMPLETED)
    assert store.refusals == 0


async def test_the_watchdog_hears_of_every_renewal_with_nothing_held_too() -> None:
    async with a_desk() as desk:
        await desk.supervisor.leases._renew()
    assert len(desk.host.deadlines) == 1


async def test_a_result_model_that_crashes_is_an_invalid_output() -> None:
    def crash(state: Mapping[str, Any]) -> Any:
        return state["missing"]

    async with a_desk(replace(POEM, shape_result=crash)) as desk:
        failed = await desk.until(await desk.submit(), Status.FAILED)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.INVALID_OUTPUT
