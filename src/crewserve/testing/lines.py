"""What every store promises about the order of claims, limits, queues and delays."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from crewserve.domain.errors import LaneFull, QueueFull
from crewserve.domain.execution import (
    CancelRequested,
    Execution,
    HandedBack,
    Returned,
)
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, QueueState, WhenFull
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId, FlowName, QueueName
from crewserve.domain.policy import Policy
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.stores import ANN, LATER, OTHER, POEM, Store, claim, done
from crewserve.testing.walks import CRASH, AnyOrderContract

ONE: Final = FlowControl(max_running=1)
TWO: Final = FlowControl(max_running=2)
EACH: Final = FlowControl(max_running=1, per="customer")
QUEUE: Final = QueueName("poem_flow")


async def add(
    store: Store,
    control: FlowControl = NO_CONTROL,
    *,
    customer: str | None = None,
    priority: int | None = None,
    key: IdempotencyKey | None = None,
    **changes: Any,
) -> Execution:
    """One that is accepted under *control*."""
    flow, inputs = changes.get("flow", POEM), {"customer": customer}
    turn = control.turn(flow, inputs, priority)
    execution = an_execution(**{"inputs": inputs, "turn": turn, **changes})
    await done(store.add(execution, key=key, control=control))
    return execution


async def claimed(store: Store, limit: int = 100, **changes: Any) -> list[ExecutionId]:
    """Whatever can be claimed, in this order."""
    return [one.id for one in await claim(store, limit=limit, flows=[POEM, OTHER], **changes)]


async def finish(store: Store, *ids: ExecutionId) -> None:
    """They returned."""
    for one in ids:
        await done(store.change(one, Returned(1), now=NOW))


def ids(executions: Sequence[Execution]) -> list[ExecutionId]:
    return [execution.id for execution in executions]


class LineContract:
    """The order of claims."""

    async def test_higher_priorities_go_first(self, store: Store) -> None:
        low, normal, high = [await add(store, priority=one) for one in (-100, 0, 100)]
        assert await claimed(store) == ids([high, normal, low])

    async def test_what_many_wait_for_keeps_nobody_else_waiting(self, store: Store) -> None:
        by_customer = FlowControl(per="customer")
        many = [await add(store, by_customer, customer="ann") for _ in range(10)]
        assert await claimed(store, 2) == ids(many[:2])
        single = await add(store, by_customer, customer="bob")
        other_flow = await add(store, flow=OTHER)
        assert await claimed(store, 4) == ids([*many[2:4], single, other_flow])

    async def test_lanes_take_turns(self, store: Store) -> None:
        by_customer = FlowControl(per="customer")
        anns = [await add(store, by_customer, customer="ann") for _ in range(3)]
        bobs = [await add(store, by_customer, customer="bob") for _ in range(3)]
        turns = [anns[0], anns[1], bobs[0], anns[2], bobs[1], bobs[2]]
        assert await claimed(store) == ids(turns)

    async def test_a_stream_of_newcomers_starves_nobody(self, store: Store) -> None:
        by_customer = FlowControl(per="customer")
        backlog = {(await add(store, by_customer, customer="ann")).id for _ in range(8)}
        for number in range(40):  # each round has one newcomer more
            await add(store, by_customer, customer=f"new {number}")
            [given] = await claimed(store, 1)
            backlog.discard(given)
            await finish(store, given)
        assert backlog == set()

    async def test_what_was_handed_back_keeps_its_place(self, store: Store) -> None:
        first, second = await add(store), await add(store)
        assert await claimed(store, 1) == [first.id]
        await done(store.change(first.id, HandedBack(), now=NOW))
        assert await claimed(store) == ids([first, second])

    async def test_a_position_says_how_many_go_first(self, store: Store) -> None:
        first, urgent, last = [await add(store, priority=one) for one in (0, 1, 0)]
        await add(store, flow=OTHER, priority=9)
        running = await add(store, priority=2)
        assert await claimed(store, 2) != []
        assert [await store.position(one.id, limit=10) for one in (urgent, first, last)] == [
            1,
            2,
            3,
        ]
        assert await store.position(last.id, limit=2) is None
        assert await store.position(running.id, limit=10) is None


class LimitContract:
    """How many run at the same time."""

    async def test_no_more_run_than_may(self, store: Store) -> None:
        waiting = [await add(store, TWO) for _ in range(5)]
        claims = await asyncio.gather(*(claimed(store) for _ in range(4)))
        assert sorted(one for got in claims for one in got) == ids(waiting[:2])

    async def test_each_key_has_a_limit_of_its_own(self, store: Store) -> None:
        anns = [await add(store, EACH, customer="ann") for _ in range(2)]
        bob, nobody = await add(store, EACH, customer="bob"), await add(store, EACH)
        plain = await add(store, flow=OTHER)
        assert set(await claimed(store)) == {one.id for one in (anns[0], bob, nobody, plain)}

    @pytest.mark.parametrize(
        "leave",
        [
            lambda store, one: store.change(one, Returned(1), now=NOW),
            lambda store, one: store.change(one, CRASH, now=NOW),
            lambda store, one: store.reap(lost=[ANN], limit=10, now=NOW),
        ],
        ids=["returned", "to be tried again later", "lost"],
    )
    async def test_a_freed_place_is_taken_at_once(self, store: Store, leave: Any) -> None:
        told: list[Execution] = []
        policy = Policy(max_attempts=1 if leave.__code__.co_names[0] == "reap" else 2)
        waiting = [await add(store, ONE, policy=policy) for _ in range(3)]
        store.on_let_in(told.extend)
        assert await claimed(store) == [waiting[0].id]
        await done(leave(store, waiting[0].id))
        assert ids(told) == [waiting[1].id]
        assert await claimed(store) == [waiting[1].id]

    async def test_who_goes_back_at_once_goes_first(self, store: Store) -> None:
        first, _ = await add(store, ONE), await add(store, ONE)
        await claimed(store)
        await done(store.hand_back(ANN, but=[], now=NOW))
        assert await claimed(store) == [first.id]

    async def test_what_leaves_before_it_ran_frees_its_place(self, store: Store) -> None:
        waiting = [await add(store, ONE) for _ in range(5)]
        cancel = CancelRequested(timedelta())
        await done(store.change(waiting[0].id, cancel, now=NOW))
        await done(store.delete(waiting[1].id))
        await done(store.change(waiting[3].id, cancel, now=NOW))
        assert await claimed(store) == [waiting[2].id]
        await finish(store, waiting[2].id)
        assert await claimed(store) == [waiting[4].id]

    async def test_the_most_urgent_of_a_lane_gets_the_next_place(self, store: Store) -> None:
        running, _, urgent = [await add(store, ONE, priority=one) for one in (0, 0, 5)]
        assert await claimed(store) == [running.id]
        assert await store.position(urgent.id, limit=10) == 1
        await finish(store, running.id)
        assert await claimed(store) == [urgent.id]

    async def test_a_retry_waits_for_a_place_like_any_other(self, store: Store) -> None:
        first, second = [await add(store, ONE, policy=Policy(max_attempts=2)) for _ in range(2)]
        await claimed(store)
        await done(store.change(first.id, CRASH, now=NOW))
        assert await claimed(store) == [second.id]
        assert await done(store.let_in(limit=10, now=LATER)) is None
        assert await claimed(store, now=LATER) == []
        await finish(store, second.id)
        assert await claimed(store, now=LATER) == [first.id]

    async def test_what_is_held_is_not_claimed_by_its_id(self, store: Store) -> None:
        waiting = [await add(store, ONE) for _ in range(2)]
        assert await claimed(store, only=ids(waiting)) == [waiting[0].id]


class WhenFullContract:
    """What becomes of a start when as many run, or wait, as may."""

    async def test_it_may_be_refused(self, store: Store) -> None:
        control = replace(TWO, when_full=WhenFull.REJECT)
        running = [await add(store, control), await add(store, control)]
        with pytest.raises(LaneFull, match="2 of the flow 'poem_flow' may run"):
            await add(store, control)
        assert set(ids(await store.page(ExecutionQuery()))) == set(ids(running))
        await claimed(store)
        await finish(store, running[0].id)
        await add(store, control)

    async def test_a_pause_lets_no_more_wait(self, store: Store) -> None:
        await done(store.pause(QUEUE, now=NOW))
        control = replace(ONE, when_full=WhenFull.REJECT)
        await add(store, control)
        with pytest.raises(LaneFull):
            await add(store, control)

    async def test_a_refused_start_leaves_its_key_free(self, store: Store) -> None:
        control = replace(ONE, when_full=WhenFull.REJECT)
        running, key = await add(store, control), IdempotencyKey(value="k", fingerprint="")
        with pytest.raises(LaneFull):
            await add(store, control, key=key)
        await done(store.delete(running.id))
        await add(store, control, key=key)

    async def test_it_may_take_the_place_of_the_oldest(self, store: Store) -> None:
        control = replace(TWO, when_full=WhenFull.CANCEL_RUNNING)
        first, second = await add(store, control), await add(store, control)
        assert len(await claimed(store)) == 2
        third = an_execution(turn=control.turn(POEM, {}, None))
        made_way = await done(store.add(third, control=control))
        assert made_way == [first.id]
        stopping, kept = await store.get(first.id), await store.get(second.id)
        assert (stopping.status, kept.cancel) == (Status.RUNNING, None)
        assert stopping.cancel is not None
        assert str(third.id) in str(stopping.cancel.reason)
        assert await claimed(store) == []
        await done(store.change(first.id, HandedBack(), now=NOW))
        assert await claimed(store) == [third.id]

    async def test_what_begins_later_takes_nobodys_place(self, store: Store) -> None:
        control = replace(ONE, when_full=WhenFull.CANCEL_RUNNING, max_pending=5)
        running = await add(store, control)
        await claimed(store)
        later = an_execution(turn=control.turn(POEM, {}, None), available_at=LATER)
        assert not await done(store.add(later, control=control))
        assert (await store.get(running.id)).cancel is None

    async def test_of_those_that_wait_for_a_place_the_newest_gets_it(self, store: Store) -> None:
        control = replace(ONE, when_full=WhenFull.CANCEL_RUNNING)
        running = await add(store, control)
        await claimed(store)
        skipped, newest = await add(store, control), await add(store, control)
        assert (await store.get(skipped.id)).status is Status.CANCELLED
        await done(store.change(running.id, HandedBack(), now=NOW))
        assert await claimed(store) == [newest.id]

    @pytest.mark.parametrize("limit", [None, 1])
    async def test_no_more_wait_than_may(self, store: Store, limit: int | None) -> None:
        control = FlowControl(max_pending=2, max_running=limit, per="customer")
        first, _ = [await add(store, control, customer="ann") for _ in range(2)]
        with pytest.raises(QueueFull, match="this one would be number 3"):
            await add(store, control, customer="ann")
        await add(store, control, customer="bob")
        assert (await claimed(store, 1)) == [first.id]
        await add(store, control, customer="ann")
        with pytest.raises(QueueFull):
            await add(store, control, customer="ann", available_at=LATER)


class DelayContract:
    """What shall begin later."""

    async def test_the_timer_is_told_what_comes_next(self, store: Store) -> None:
        told: list[Execution] = []
        store.on_let_in(told.extend)
        times = [NOW + timedelta(seconds=seconds) for seconds in (2, 1, 3)]
        later = [await add(store, available_at=at) for at in times]
        assert await done(store.let_in(limit=10, now=NOW)) == times[1]
        assert (await claimed(store), told) == ([], [])
        assert await done(store.let_in(limit=10, now=times[0])) == times[2]
        assert ids(told) == ids([later[1], later[0]])
        assert await claimed(store) == ids([later[1], later[0]])

    async def test_more_than_it_takes_at_once_is_still_due(self, store: Store) -> None:
        for _ in range(3):
            await add(store, available_at=LATER)
        found = [await done(store.let_in(limit=2, now=LATER)) for _ in range(2)]
        assert found == [LATER, None]
        assert len(await claimed(store)) == 3

    async def test_what_shall_begin_later_takes_no_place_before(self, store: Store) -> None:
        later = await add(store, ONE, available_at=LATER)
        now, after = await add(store, ONE), await add(store, ONE)
        assert await claimed(store) == [now.id]
        await done(store.let_in(limit=10, now=LATER))
        await finish(store, now.id)
        assert await claimed(store) == [after.id]
        await finish(store, after.id)
        assert await claimed(store) == [later.id]


class PauseContract:
    """Queues that stand still."""

    async def test_nothing_of_a_paused_queue_is_claimed(self, store: Store) -> None:
        before, other = await add(store), await add(store, flow=OTHER)
        await done(store.pause(QUEUE, now=NOW))
        await done(store.pause(QUEUE, now=LATER))
        during = await add(store)
        assert await claimed(store) == [other.id]
        assert await claimed(store, only=ids([before, during])) == []
        assert await done(store.resume(QUEUE, limit=10)) is False
        assert await claimed(store) == ids([before, during])

    async def test_what_ran_does_not_come_back_before_the_pause_ends(self, store: Store) -> None:
        running, later = await add(store), await add(store, available_at=LATER)
        assert await claimed(store) == [running.id]
        await done(store.pause(QUEUE, now=NOW))
        await done(store.change(running.id, HandedBack(), now=NOW))
        await done(store.let_in(limit=10, now=LATER))
        assert await claimed(store) == []
        await done(store.resume(QUEUE, limit=10))
        assert await claimed(store) == ids([running, later])

    async def test_limits_hold_after_a_pause(self, store: Store) -> None:
        waiting = [await add(store, TWO) for _ in range(4)]
        assert await claimed(store, 1) == [waiting[0].id]
        await done(store.pause(QUEUE, now=NOW))
        assert await claimed(store) == []
        await done(store.resume(QUEUE, limit=10))
        assert await claimed(store) == [waiting[1].id]

    async def test_a_long_queue_is_let_in_part_by_part(self, store: Store) -> None:
        told: list[Execution] = []
        store.on_let_in(told.extend)
        waiting = [await add(store) for _ in range(5)]
        await done(store.pause(QUEUE, now=NOW))
        more = [await done(store.resume(QUEUE, limit=2)) for _ in range(3)]
        assert more == [True, True, False]
        assert ids(sorted(told, key=lambda one: one.id)) == ids(waiting)
        assert await claimed(store) == ids(waiting)

    async def test_queues_tell_what_is_in_them(self, store: Store) -> None:
        assert list(await store.queues()) == []
        for available_at in (NOW, NOW, NOW, LATER):
            await add(store, ONE, available_at=available_at)
        gpu = FlowControl(queue="gpu")
        await add(store, gpu, flow=OTHER, created_at=LATER, available_at=LATER)
        assert len(await claimed(store, 1)) == 1
        await add(store, flow=FlowName("ended"), status=Status.COMPLETED)
        await done(store.pause(QueueName("empty"), now=LATER))
        assert list(await store.queues()) == [
            QueueState(name=QueueName("empty"), paused_at=LATER),
            QueueState(name=QueueName("gpu"), ready=1, oldest=LATER),
            QueueState(name=QUEUE, running=1, held=2, early=1, oldest=NOW),
        ]


class LinesContract(
    LineContract,
    LimitContract,
    WhenFullContract,
    DelayContract,
    PauseContract,
    AnyOrderContract,
):
    """All of it."""
