"""What every store promises. Subclass it, give it a `store` fixture, and pytest runs all of it."""

import asyncio
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from crewserve.domain.attempts import lease_lost_reason
from crewserve.domain.errors import (
    ExecutionActive,
    ExecutionNotFound,
    InvalidTransition,
    StaleExecution,
)
from crewserve.domain.execution import (
    CancelRequested,
    Claimed,
    Driver,
    HandedBack,
    LeaseExpired,
    Raised,
    Returned,
    apply,
)
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.status import Status
from crewserve.ports import (
    Held,
)
from crewserve.testing.api_keys import ApiKeysContract
from crewserve.testing.audit import AuditContract
from crewserve.testing.builders import NOW, a_cancel, a_new_id, a_step, an_execution
from crewserve.testing.dispatching import DispatchContract, FlowReportsContract
from crewserve.testing.event_logs import EventLogContract
from crewserve.testing.idempotency import IdempotencyContract
from crewserve.testing.labels import LabelsContract
from crewserve.testing.lines import LinesContract
from crewserve.testing.output import OutputContract
from crewserve.testing.reading import ReadingContract
from crewserve.testing.realms import RealmsContract
from crewserve.testing.refusals import RefusalContract
from crewserve.testing.retention import RetentionContract
from crewserve.testing.stores import (
    ANN,
    BOB,
    LATER,
    LEASE,
    OTHER,
    POEM,
    Store,
    add_running,
    claim,
    done,
    held_by,
)
from crewserve.testing.usage import UsageContract
from crewserve.testing.workers import WorkersContract


class RecordingContract:
    """Adding, reading, replacing and deleting."""

    async def test_what_was_added_is_read_back_whole(self, store: Store) -> None:
        failure = Failure(
            code=FailureCode.FLOW_ERROR, message="böse", type="E", step="s", traceback="t\n"
        )
        execution = an_execution(
            Status.FAILED, inputs={"a": [1, None, {"ü": 1.5}]}, failure=failure, result={"x": []}
        )
        await done(store.add(execution))
        assert await store.get(execution.id) == execution
        assert await done(store.current(execution.id)) == execution

    @pytest.mark.parametrize(
        "value", [1, 1.5, 2**70, "1", "", True, None, [], {"": None}, "\ud800 😀 ü\n"]
    )
    async def test_any_json_comes_back_as_it_was(self, store: Store, value: Any) -> None:
        execution = an_execution(Status.COMPLETED, result=value, inputs={"value": value})
        await done(store.add(execution))
        read = await store.get(execution.id)
        assert (read.result, read.inputs) == (value, {"value": value})
        assert type(read.result) is type(value)

    async def test_an_unknown_id_is_an_error_not_none(self, store: Store) -> None:
        with pytest.raises(ExecutionNotFound):
            await store.get(a_new_id())
        with pytest.raises(ExecutionNotFound):
            await done(store.current(a_new_id()))

    async def test_a_change_is_seen_by_readers(self, store: Store) -> None:
        running = await add_running(store)
        event = Returned({"poem": "roses"})
        completed = await done(store.change(running.id, event, now=NOW))
        assert completed == apply(running, event, now=NOW) == await store.get(running.id)

    async def test_the_second_writer_is_told_it_is_stale(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.change(running.id, Returned(1), now=NOW, fence=running.fence))
        with pytest.raises(StaleExecution):
            await done(store.change(running.id, Returned(2), now=NOW, fence=running.fence))
        with pytest.raises(InvalidTransition):
            await done(store.change(running.id, Returned(2), now=NOW))
        assert (await store.get(running.id)).result == 1

    async def test_a_superseded_fence_writes_nothing(self, store: Store) -> None:
        first = await add_running(store, max_attempts=2)
        await done(store.reap(lost=[], limit=10, now=LATER))
        [second] = await claim(store, BOB, now=LATER, lease_expires_at=LATER + LEASE)
        with pytest.raises(StaleExecution):
            await done(store.change(first.id, Returned("zombie"), now=LATER, fence=first.fence))
        with pytest.raises(StaleExecution):
            await done(store.record(held_by(first), a_step()))
        assert list(await store.steps(first.id)) == []
        assert await store.get(first.id) == second

    async def test_one_failed_write_does_not_undo_its_neighbours(self, store: Store) -> None:
        running = await add_running(store)
        others = [an_execution() for _ in range(3)]
        stale = store.change(running.id, Returned(1), now=NOW, fence=99)
        futures: list[Future[Any]] = [store.add(others[0]), stale, store.add(others[1])]
        futures.append(store.add(others[2]))
        results = await asyncio.gather(*map(done, futures), return_exceptions=True)
        assert [isinstance(result, StaleExecution) for result in results] == [False, True] + [
            False
        ] * 2
        assert [await store.get(other.id) for other in others] == others

    async def test_an_ended_execution_can_be_deleted(self, store: Store) -> None:
        execution = an_execution(Status.COMPLETED)
        await done(store.add(execution))
        await done(store.delete(execution.id))
        with pytest.raises(ExecutionNotFound):
            await store.get(execution.id)
        with pytest.raises(ExecutionNotFound):
            await done(store.delete(execution.id))

    async def test_a_pending_execution_can_be_deleted_and_is_never_claimed(
        self, store: Store
    ) -> None:
        execution = an_execution()
        await done(store.add(execution))
        await done(store.delete(execution.id))
        assert await claim(store) == []

    async def test_what_somebody_works_on_cannot_be_deleted(self, store: Store) -> None:
        running = await add_running(store)
        by_hand = an_execution(driver=Driver.CALLER, lease_owner=ANN, lease_expires_at=NOW)
        await done(store.add(by_hand))
        for execution in (running, by_hand):
            with pytest.raises(ExecutionActive):
                await done(store.delete(execution.id))


class ClaimContract:
    """Who gets which execution, and for how long."""

    async def test_a_claim_does_what_the_state_machine_says(self, store: Store) -> None:
        pending = an_execution()
        await done(store.add(pending))
        [claimed] = await claim(store)
        assert claimed == apply(pending, Claimed(ANN, NOW + LEASE), now=NOW)
        assert await store.get(pending.id) == claimed

    async def test_nothing_is_given_twice(self, store: Store) -> None:
        for _ in range(20):
            await done(store.add(an_execution()))
        claims = [claim(store, owner, limit=3) for owner in (ANN, BOB) for _ in range(10)]
        given = [execution.id for got in await asyncio.gather(*claims) for execution in got]
        assert len(given) == len(set(given)) == 20

    async def test_what_came_first_goes_first(self, store: Store) -> None:
        waiting = [an_execution() for _ in range(5)]
        for execution in waiting:
            await done(store.add(execution))
        claimed = await claim(store, limit=3)
        assert [execution.id for execution in claimed] == [one.id for one in waiting[:3]]

    async def test_only_served_flows_are_claimed(self, store: Store) -> None:
        await done(store.add(an_execution(flow=OTHER)))
        assert await claim(store) == []
        assert len(await claim(store, flows=[POEM, OTHER])) == 1

    async def test_nothing_is_claimed_before_its_time(self, store: Store) -> None:
        await done(store.add(an_execution(available_at=LATER)))
        assert await done(store.let_in(limit=10, now=NOW)) == LATER
        assert await claim(store, now=LATER) == []
        assert await done(store.let_in(limit=10, now=LATER)) is None
        assert len(await claim(store, now=LATER)) == 1

    async def test_what_a_caller_drives_is_never_claimed(self, store: Store) -> None:
        await done(store.add(an_execution(driver=Driver.CALLER)))
        assert await claim(store) == []

    async def test_what_was_handed_back_is_claimed_with_a_new_fence(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.change(running.id, HandedBack(), now=NOW))
        [again] = await claim(store, BOB)
        assert (again.attempt, again.fence, again.lease_owner) == (1, 2, BOB)

    async def test_what_was_claimed_in_vain_is_handed_back(self, store: Store) -> None:
        vain, runs, theirs = [an_execution() for _ in range(3)]
        for execution in (vain, runs):
            await done(store.add(execution))
        [_, running] = await claim(store, limit=2)
        await done(store.add(theirs))
        await claim(store, BOB)
        by_hand = an_execution(
            Status.RUNNING, driver=Driver.CALLER, lease_owner=ANN, lease_expires_at=LATER
        )
        await done(store.add(by_hand))
        [back] = await done(store.hand_back(ANN, but=[held_by(running)], now=NOW))
        assert (back.id, back.status, back.attempt, back.fence) == (vain.id, Status.PENDING, 0, 1)
        assert await store.get(vain.id) == back
        assert [one.outcome for one in await store.attempts(vain.id)] == ["handed_back"]
        assert await done(store.hand_back(ANN, but=[held_by(running)], now=NOW)) == []


class LeaseContract:
    """Renewing, losing and reaping."""

    async def test_a_lease_is_renewed_for_exactly_what_is_held(self, store: Store) -> None:
        held, dropped = await add_running(store), await add_running(store)
        kept = await done(
            store.renew(ANN, [held_by(held)], lease_expires_at=LATER + LEASE, now=NOW)
        )
        assert dict(kept) == {held_by(held): None}
        reaped = await done(store.reap(lost=[], limit=10, now=LATER))
        assert [execution.id for execution in reaped] == [dropped.id]

    async def test_a_renewal_tells_of_a_requested_cancel(self, store: Store) -> None:
        execution = an_execution(
            Status.RUNNING, lease_owner=ANN, lease_expires_at=LATER, cancel=a_cancel()
        )
        await done(store.add(execution))
        kept = await done(store.renew(ANN, [held_by(execution)], lease_expires_at=LATER, now=NOW))
        assert dict(kept) == {held_by(execution): a_cancel()}

    async def test_an_expired_lease_cannot_be_renewed(self, store: Store) -> None:
        running = await add_running(store)
        kept = await done(
            store.renew(ANN, [held_by(running)], lease_expires_at=LATER + LEASE, now=LATER)
        )
        assert dict(kept) == {}

    async def test_nobody_renews_what_is_another_s_or_of_an_older_fence(self, store: Store) -> None:
        running = await add_running(store)
        stale = Held(running.id, running.fence - 1)
        for owner, held in ((BOB, held_by(running)), (ANN, stale)):
            kept = await done(store.renew(owner, [held], lease_expires_at=LATER, now=NOW))
            assert dict(kept) == {}

    async def test_the_last_attempt_that_expires_fails(self, store: Store) -> None:
        running = await add_running(store)
        [reaped] = await done(store.reap(lost=[], limit=10, now=LATER))
        event = LeaseExpired(lease_lost_reason(running, []))
        assert reaped == apply(running, event, now=LATER) == await store.get(running.id)
        assert reaped.failure is not None
        assert reaped.failure.code is FailureCode.WORKER_LOST

    async def test_an_expired_attempt_with_more_left_is_pending_again(self, store: Store) -> None:
        await add_running(store, max_attempts=2)
        [reaped] = await done(store.reap(lost=[], limit=10, now=LATER))
        assert (reaped.status, reaped.attempt) == (Status.PENDING, 1)

    async def test_cancel_wins_over_retry(self, store: Store) -> None:
        await done(store.add(an_execution(max_attempts=2, cancel=a_cancel())))
        await claim(store)
        [reaped] = await done(store.reap(lost=[], limit=10, now=LATER))
        assert reaped.status is Status.CANCELLED

    async def test_what_a_lost_worker_held_is_reaped_before_it_expires(self, store: Store) -> None:
        running = await add_running(store)
        assert set(await store.owners()) == {ANN}
        assert await done(store.reap(lost=[BOB], limit=10, now=NOW)) == []
        [reaped] = await done(store.reap(lost=[ANN], limit=10, now=NOW))
        assert (reaped.id, reaped.status) == (running.id, Status.FAILED)
        assert set(await store.owners()) == set()

    async def test_a_caller_s_execution_fails_with_its_caller(self, store: Store) -> None:
        waiting = an_execution(
            driver=Driver.CALLER, lease_owner=ANN, lease_expires_at=NOW + LEASE, max_attempts=5
        )
        await done(store.add(waiting))
        [reaped] = await done(store.reap(lost=[ANN], limit=10, now=NOW))
        assert (reaped.status, reaped.attempt) == (Status.FAILED, 0)

    async def test_reaping_goes_in_batches(self, store: Store) -> None:
        for _ in range(3):
            await add_running(store)
        reaped = [await done(store.reap(lost=[], limit=2, now=LATER)) for _ in range(3)]
        assert [len(batch) for batch in reaped] == [2, 1, 0]


class HistoryContract:
    """Steps and attempts."""

    async def test_steps_are_read_back_in_order(self, store: Store) -> None:
        running = await add_running(store)
        steps = [a_step(2, problem="no JSON", state=None), a_step(1, result=[1, "ü"])]
        for step in steps:
            await done(store.record(held_by(running), step))
        assert list(await store.steps(running.id)) == steps[::-1]

    async def test_a_step_that_ran_again_replaces_the_one_before(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.record(held_by(running), a_step(1, result="old")))
        await done(store.record(held_by(running), a_step(1, result="new")))
        assert [step.result for step in await store.steps(running.id)] == ["new"]

    async def test_a_step_of_a_new_attempt_forgets_those_after_it(self, store: Store) -> None:
        running = await add_running(store, max_attempts=2)
        for position in (1, 2, 3):
            await done(store.record(held_by(running), a_step(position, result="old")))
        await done(store.reap(lost=[], limit=10, now=LATER))
        [again] = await claim(store, now=LATER, lease_expires_at=LATER + LEASE)
        for position in (3, 2):
            await done(store.record(held_by(again), a_step(position, result="new")))
        found = [(step.position, step.result) for step in await store.steps(running.id)]
        assert found == [(1, "old"), (2, "new"), (3, "new")]

    async def test_an_execution_may_begin_with_steps(self, store: Store) -> None:
        forked = an_execution(parent=a_new_id(), accepts_changes=True)
        await done(store.add(forked, [a_step(1), a_step(2)]))
        assert list(await store.steps(forked.id)) == [a_step(1), a_step(2)]
        assert await store.get(forked.id) == forked

    async def test_steps_go_with_their_execution(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.record(held_by(running), a_step()))
        await done(store.change(running.id, Returned(1), now=NOW))
        await done(store.delete(running.id))
        assert (list(await store.steps(running.id)), list(await store.attempts(running.id))) == (
            [],
            [],
        )

    async def test_each_attempt_tells_how_it_ended(self, store: Store) -> None:
        running = await add_running(store, max_attempts=3)
        await done(store.change(running.id, HandedBack(), now=NOW))
        await claim(store, BOB)
        await done(store.reap(lost=[BOB], limit=10, now=NOW))
        await claim(store)
        failure = Failure(code=FailureCode.WORKER_LOST, message="boom")
        await done(store.change(running.id, Raised(failure), now=NOW))
        await done(store.let_in(limit=1, now=LATER))
        [last] = await claim(store, now=LATER, lease_expires_at=LATER + LEASE)
        await done(store.change(running.id, Returned(1), now=LATER))
        found = await store.attempts(running.id)
        assert [(one.number, one.fence, one.worker, one.outcome) for one in found] == [
            (1, 1, ANN, "handed_back"),
            (1, 2, BOB, "lost"),
            (2, 3, ANN, "failed"),
            (3, 4, ANN, "completed"),
        ]
        assert (found[2].code, found[2].error) == ("worker_lost", "boom")
        assert (found[3].started_at, found[3].ended_at, last.attempt) == (LATER, LATER, 3)

    async def test_a_cancel_request_of_what_runs_is_kept_until_it_stops(self, store: Store) -> None:
        running = await add_running(store)
        event = CancelRequested(timedelta(seconds=5), "enough")
        asked = await done(store.change(running.id, event, now=NOW))
        assert (asked.status, asked.cancel) == (Status.RUNNING, a_cancel())
        stopped = await done(store.change(running.id, HandedBack(), now=NOW, fence=running.fence))
        assert (stopped.status, stopped.cancel) == (Status.CANCELLED, a_cancel())
        assert [one.outcome for one in await store.attempts(running.id)] == ["handed_back"]


class StoreContract(
    RecordingContract,
    ClaimContract,
    LeaseContract,
    ReadingContract,
    HistoryContract,
    EventLogContract,
    IdempotencyContract,
    RefusalContract,
    DispatchContract,
    FlowReportsContract,
    WorkersContract,
    ApiKeysContract,
    AuditContract,
    RealmsContract,
    LinesContract,
    LabelsContract,
    UsageContract,
    OutputContract,
    RetentionContract,
):
    """All of it."""
