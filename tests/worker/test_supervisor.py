import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import CancelRequested, Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.flow_control import FlowControl
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.engines.local import LocalEngine
from crewserve.http.flow_router import flow_router
from crewserve.ports import Finished, Outcome, Run, Stopped
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_step, an_execution
from crewserve.testing.fakes import FakeHost, FrozenClock, waiting_host
from crewserve.testing.refusals import with_no_json
from crewserve.worker import supervisor as supervising
from crewserve.worker.leases import LeaseKeeper
from crewserve.worker.supervisor import FEW, Supervisor
from tests.support.recording import recording

LEASE = timedelta(seconds=30)
ANN = WorkerName("ann:1:0:00")
POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


class ForgetfulStore(MemoryStore):
    """Refuses the first change."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 1

    def change(self, *args: Any, **options: Any) -> Future[Execution]:
        if self.refusals == 0:
            return super().change(*args, **options)
        self.refusals -= 1
        future: Future[Execution] = Future()
        future.set_exception(StorageUnavailable())
        return future


class LateStore(MemoryStore):
    """Commits the first claim that gives something, and answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Future[list[Execution]] | None = None
        self.claimed: list[Execution] = []

    def claim(self, *args: Any, **options: Any) -> Future[list[Execution]]:
        claimed = super().claim(*args, **options)
        if self.answer is not None or not claimed.result():
            return claimed
        self.claimed, self.answer = claimed.result(), Future()
        return self.answer


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

    async def cancel(self, execution: Execution, grace: float) -> None:
        event = CancelRequested(timedelta(seconds=grace))
        self.store.change(execution.id, event, now=NOW).result()
        await self.supervisor.leases._renew()

    async def begun(self) -> Execution:
        """One that runs."""
        execution = await self.submit()
        await self.until_it_runs()
        return execution

    async def until_it_runs(self) -> None:
        async with asyncio.timeout(5):
            while not self.host.running:
                await asyncio.sleep(0)


@asynccontextmanager
async def a_desk(
    flow: FlowSpec = POEM,
    host: FakeHost | None = None,
    store: MemoryStore | None = None,
    lease: timedelta = LEASE,
    **options: Any,
) -> AsyncIterator[Desk]:
    store, host, clock = store or MemoryStore(), host or FakeHost(), FrozenClock()
    leases = LeaseKeeper(store, ANN, lease, host.live_until, clock)
    settings = {
        "slots": 8,
        "has_memory": lambda: True,
        "is_busy": lambda: False,
        "drain": timedelta(),
        **options,
    }
    wake = asyncio.Event()
    supervisor = Supervisor(
        name=ANN,
        store=store,
        reader=store,
        host=host,
        catalog=FlowCatalog({flow.name: flow}),
        flows=[flow.name],
        leases=leases,
        wake=wake,
        announce=LocalEngine(wake).announce,
        expect=lambda at: None,
        lease=lease,
        clock=clock,
        record_events=recording(store),
        **settings,
    )
    task = asyncio.create_task(supervisor.keep())
    try:
        yield Desk(store, host, supervisor)
    finally:
        supervisor.stop()
        await asyncio.wait_for(task, 5)


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
        async def run(self, run: Run) -> Outcome:
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


async def test_the_next_of_a_limited_flow_begins_when_one_has_ended() -> None:
    control, host = FlowControl(max_running=1), waiting_host()
    async with a_desk(host=host) as desk:
        turn = control.turn(POEM.name, {}, None)
        executions = [await desk.submit(turn=turn) for _ in range(3)]
        await desk.until_it_runs()
        assert len(host.running) == 1
        host.finish.set()
        for execution in executions:
            await desk.until(execution, Status.COMPLETED)


async def test_nothing_is_claimed_without_room_or_memory() -> None:
    async with a_desk(host=FakeHost(room=0)) as full, a_desk(has_memory=lambda: False) as poor:
        first, second = await full.submit(), await poor.submit()
        await asyncio.sleep(0.05)
        assert (await full.store.get(first.id)).status is Status.PENDING
        assert (await poor.store.get(second.id)).status is Status.PENDING


async def test_while_the_processors_are_busy_few_run_and_others_begin_one_by_one() -> None:
    host = waiting_host()
    async with a_desk(host=host, is_busy=lambda: True) as desk:
        executions = [await desk.submit() for _ in range(FEW + 2)]
        await desk.until(executions[FEW - 1], Status.RUNNING)
        first = [await desk.store.get(execution.id) for execution in executions]
        assert [one.status for one in first].count(Status.RUNNING) == FEW
        await desk.until(executions[-1], Status.RUNNING)
        host.finish.set()


async def test_what_ends_makes_room_for_the_next_however_busy_the_processors_are() -> None:
    async with a_desk(is_busy=lambda: True) as desk:
        for execution in [await desk.submit() for _ in range(3 * FEW)]:
            await desk.until(execution, Status.COMPLETED)


async def test_what_was_claimed_too_long_ago_is_not_started() -> None:
    """This process was frozen between the claim's commit and its answer."""
    store = LateStore()
    async with a_desk(store=store, lease=timedelta(milliseconds=20)) as desk:
        execution = await desk.submit()
        await desk.until(execution, Status.RUNNING)
        assert store.answer is not None
        asyncio.get_running_loop().call_later(0.02, store.answer.set_result, store.claimed)
        await desk.until(execution, Status.COMPLETED)
        attempts = await store.attempts(execution.id)
    assert [run.execution.fence for run in desk.host.runs] == [2]
    assert [(one.number, one.outcome) for one in attempts] == [(1, "handed_back"), (1, "completed")]


async def test_a_claim_whose_answer_was_lost_is_handed_back_and_made_again() -> None:
    store, host = LateStore(), waiting_host()
    async with a_desk(store=store, host=host) as desk:
        execution = await desk.submit()
        await desk.until(execution, Status.RUNNING)
        assert store.answer is not None
        store.answer.set_exception(StorageUnavailable())
        async with asyncio.timeout(5):
            while not host.running:
                desk.supervisor.wake.set()
                await asyncio.sleep(0)
        other = await desk.submit()
        host.finish.set()
        for one in (execution, other):
            await desk.until(one, Status.COMPLETED)
        attempts = await store.attempts(execution.id)
    assert [one.outcome for one in attempts] == ["handed_back", "completed"]


async def test_stopping_kills_what_runs_and_hands_it_back() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
    back = await desk.store.get(execution.id)
    assert (back.status, back.attempt, back.fence) == (Status.PENDING, 0, 1)
    assert len(host.killed) == 1


async def test_a_lost_lease_kills_and_writes_nothing() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
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


async def test_a_cancel_by_force_kills_at_once() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=0)
        cancelled = await desk.until(execution, Status.CANCELLED)
    assert (len(host.killed), host.stopped) == (1, [])
    assert cancelled.failure is None


async def test_a_graceful_cancel_asks_first_and_takes_the_flow_s_word() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=60)
        assert [held.id for held in host.stopped] == [execution.id]
        host.outcome = Stopped()
        host.finish.set()
        await desk.until(execution, Status.CANCELLED)
    assert host.killed == set()


async def test_a_flow_that_finishes_in_its_grace_is_completed() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=60)
        host.finish.set()
        assert (await desk.until(execution, Status.COMPLETED)).result == "done"


async def test_whoever_does_not_stop_in_the_grace_is_killed() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=0.01)
        await desk.until(execution, Status.CANCELLED)
    assert (len(host.stopped), len(host.killed)) == (1, 1)


async def test_force_after_a_graceful_cancel_does_not_wait() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=60)
        await desk.cancel(execution, grace=0)
        await desk.until(execution, Status.CANCELLED)
    assert len(host.killed) == 1


async def test_an_attempt_that_takes_too_long_is_killed_and_says_so() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        policy = Policy(max_attempts=1, timeout_seconds=0.01)
        failed = await desk.until(await desk.submit(policy=policy), Status.FAILED)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.TIMEOUT
    assert "0.01 s" in failed.failure.message
    assert len(host.killed) == 1


OVER = Failure(code=FailureCode.BUDGET_EXCEEDED, message="no more", step="write")


@pytest.mark.parametrize("outcome", [Stopped(), Finished({}, "done"), replace(OVER, message="b")])
async def test_a_run_over_its_budget_fails_so_and_is_not_tried_again(outcome: Outcome) -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        policy = Policy(max_attempts=3, retry_on=frozenset(FailureCode))
        execution = await desk.submit(policy=policy)
        await desk.until_it_runs()
        host.runs[0].exceed(OVER)
        host.runs[0].exceed(replace(OVER, message="again"))
        host.outcome = outcome
        host.finish.set()
        failed = await desk.until(execution, Status.FAILED)
    assert (failed.failure, failed.attempt, host.killed) == (OVER, 1, set())


async def test_a_run_over_its_budget_that_does_not_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crewserve.worker.job.GRACE", timedelta(seconds=0.01))
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        host.runs[0].exceed(OVER)
        failed = await desk.until(execution, Status.FAILED)
    assert (failed.failure, len(host.killed)) == (OVER, 1)


async def test_a_crash_is_tried_again_with_the_steps_that_ended() -> None:
    host = waiting_host()
    policy = Policy(max_attempts=2, backoff_seconds=0)
    async with a_desk(host=host) as desk:
        execution = await desk.submit(policy=policy)
        await desk.until_it_runs()
        await host.runs[0].record(a_step())
        host.outcome = Failure(code=FailureCode.WORKER_LOST, message="crash")
        host.finish.set()
        failed = await desk.until(execution, Status.FAILED)
        attempts = await desk.store.attempts(execution.id)
    assert [len(run.steps) for run in host.runs] == [0, 1]
    assert (failed.attempt, [one.outcome for one in attempts]) == (2, ["failed", "failed"])


async def test_what_ends_within_the_drain_time_is_not_handed_back() -> None:
    host = waiting_host()
    async with a_desk(host=host, drain=timedelta(seconds=60)) as desk:
        execution = await desk.begun()
        desk.supervisor.stop()
        late = await desk.submit()
        await asyncio.sleep(0.01)
        host.finish.set()
        await desk.until(execution, Status.COMPLETED)
    assert (await desk.store.get(late.id)).status is Status.PENDING


async def test_what_cannot_be_killed_is_killed_with_the_whole_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervising, "KILL_SECONDS", 0.01)

    class Frozen(FakeHost):
        async def run(self, run: Run) -> Outcome:
            try:
                return await super().run(run)
            except asyncio.CancelledError:
                await self.closed.wait()
                raise

    host = Frozen()
    host.finish.clear()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
    assert (await desk.store.get(execution.id)).status is Status.PENDING


async def test_hurrying_ends_the_drain() -> None:
    host = waiting_host()
    async with a_desk(host=host, drain=timedelta(seconds=60)) as desk:
        execution = await desk.begun()
        desk.supervisor.stop()
        desk.supervisor.hurry()
        await desk.until(execution, Status.PENDING)
    assert len(host.killed) == 1


async def test_a_second_reason_to_kill_does_not_cut_off_the_wait_for_the_process() -> None:
    gone = asyncio.Event()

    class Dying(FakeHost):
        async def run(self, run: Run) -> Outcome:
            try:
                return await super().run(run)
            except asyncio.CancelledError:
                await gone.wait()
                raise

    host = Dying()
    host.finish.clear()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await desk.cancel(execution, grace=0)
        desk.supervisor.stop()
        await asyncio.sleep(0.05)
        assert (await desk.store.get(execution.id)).status is Status.RUNNING
        gone.set()
        await desk.until(execution, Status.CANCELLED)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", 10**5000], ids=["NaN", "half", "huge"])
async def test_a_result_model_that_makes_no_json_is_an_invalid_output(value: Any) -> None:
    class Measured(BaseModel):
        value: float | Any

    spec = flow_router("m:PoemFlow", result=Measured).flow
    host = FakeHost(outcome=Finished({"value": value}, None))
    async with a_desk(replace(POEM, shape_result=spec.shape_result), host) as desk:
        failed = await desk.until(await desk.submit(), Status.FAILED)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.INVALID_OUTPUT


@with_no_json
async def test_a_result_that_no_database_takes_fails_and_says_so(value: Any) -> None:
    host = FakeHost(outcome=Finished({}, value))
    async with a_desk(host=host) as desk:
        failed = await desk.until(await desk.submit(max_attempts=3), Status.FAILED)
        [attempt] = await desk.store.attempts(failed.id)
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.INVALID_OUTPUT
    assert failed.failure.message.startswith("The flow's result cannot be stored: ")
    assert (attempt.outcome, attempt.error) == ("failed", failed.failure.message)


async def test_a_step_that_no_database_takes_is_listed_with_its_problem() -> None:
    host = waiting_host()
    async with a_desk(host=host) as desk:
        execution = await desk.begun()
        await host.runs[0].record(a_step(result=float("nan")))
        [step] = await desk.store.steps(execution.id)
        host.finish.set()
        await desk.until(execution, Status.COMPLETED)
    assert (step.name, step.result, step.state) == ("step_1", None, None)
    assert (step.problem or "").startswith("It cannot be stored: Out of range float")


async def test_one_that_is_paused_takes_nothing_and_tells_when_nothing_runs() -> None:
    host, drained = waiting_host(), asyncio.Event()
    async with a_desk(host=host, on_drained=drained.set) as desk:
        running = await desk.begun()
        desk.supervisor.pause()
        waiting = await desk.submit()
        for _ in range(100):
            await asyncio.sleep(0)
        assert (len(host.running), drained.is_set()) == (1, False)
        host.finish.set()
        await desk.until(running, Status.COMPLETED)
        async with asyncio.timeout(5):
            await drained.wait()
        assert (await desk.store.get(waiting.id)).status is Status.PENDING
        desk.supervisor.resume()
        await desk.until(waiting, Status.COMPLETED)


async def test_what_was_claimed_just_before_a_pause_runs_to_its_end_first() -> None:
    store, drained = LateStore(), asyncio.Event()
    async with a_desk(store=store, on_drained=drained.set) as desk:
        claimed = await desk.submit()
        async with asyncio.timeout(5):
            while store.answer is None:
                await asyncio.sleep(0)
        desk.supervisor.pause()
        assert not drained.is_set()
        store.answer.set_result(store.claimed)
        await desk.until(claimed, Status.COMPLETED)
        async with asyncio.timeout(5):
            await drained.wait()
