"""What every store promises to engines that deliver ids, and to hosts that load no flows."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from crewserve.domain.execution import Claimed, Driver, Execution, HandedBack, apply
from crewserve.domain.flow import FlowDescription, FlowGraph, FlowHealth
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.ports import FlowReport
from crewserve.testing.builders import NOW, a_new_id, an_execution
from crewserve.testing.stores import Store, done

POEM = FlowName("poem_flow")
ANN = WorkerName("ann:1:0:00")
BOB = WorkerName("bob:1:0:00")
EXPIRY = NOW + timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
PAUSES = (MINUTE, 2 * MINUTE, 4 * MINUTE)


async def claim_only(
    store: Store, *ids: ExecutionId, owner: WorkerName = ANN, now: datetime = NOW
) -> list[Execution]:
    """Claim these of the poem flow."""
    return await done(
        store.claim(owner, flows=[POEM], limit=len(ids), lease_expires_at=EXPIRY, now=now, only=ids)
    )


async def dispatched(
    store: Store, minutes: float, pauses: Collection[timedelta] = PAUSES, limit: int = 10
) -> list[ExecutionId]:
    """Those that are to be announced so many minutes from now."""
    now = NOW + minutes * MINUTE
    found = await done(store.dispatch(pauses=list(pauses), limit=limit, now=now))
    return [execution.id for execution in found]


class DispatchContract:
    """Claims by id, and the bookkeeping of announcements."""

    async def test_a_claim_of_some_takes_no_others(self, store: Store) -> None:
        first, wanted, last = [an_execution() for _ in range(3)]
        for execution in (first, wanted, last):
            await done(store.add(execution))
        claimed = await claim_only(store, last.id, wanted.id)
        assert claimed == [apply(one, Claimed(ANN, EXPIRY), now=NOW) for one in (wanted, last)]
        assert await store.get(first.id) == first

    async def test_what_was_delivered_twice_is_given_once(self, store: Store) -> None:
        execution = an_execution()
        await done(store.add(execution))
        claims = [claim_only(store, execution.id, owner=owner) for owner in (ANN, BOB) * 5]
        given = [one.id for claimed in await asyncio.gather(*claims) for one in claimed]
        assert given == [execution.id]

    async def test_what_is_not_claimable_is_not_claimed_by_its_id_either(
        self, store: Store
    ) -> None:
        others = [
            an_execution(Status.COMPLETED),
            an_execution(driver=Driver.CALLER),
            an_execution(flow=FlowName("other_flow")),
            an_execution(available_at=NOW + timedelta(milliseconds=1)),
        ]
        for execution in others:
            await done(store.add(execution))
        unknown = a_new_id()
        assert await claim_only(store, unknown, *(one.id for one in others)) == []

    async def test_the_clock_of_whoever_announced_may_be_ahead(self, store: Store) -> None:
        ahead = NOW + MINUTE
        execution = an_execution(created_at=ahead, available_at=ahead)
        await done(store.add(execution))
        [claimed] = await claim_only(store, execution.id)
        assert claimed.started_at == NOW

    async def test_pending_work_is_announced_again_after_ever_longer_pauses(
        self, store: Store
    ) -> None:
        execution = an_execution()
        await done(store.add(execution))
        announced = [
            minute for minute in range(16) if await dispatched(store, minute) == [execution.id]
        ]
        assert announced == [1, 3, 7, 11, 15]
        assert await store.get(execution.id) == execution

    async def test_two_that_sweep_announce_once(self, store: Store) -> None:
        for _ in range(20):
            await done(store.add(an_execution()))
        sweeps = await asyncio.gather(*(dispatched(store, 2, limit=5) for _ in range(8)))
        found = [one for sweep in sweeps for one in sweep]
        assert len(found) == len(set(found)) == 20

    async def test_the_first_in_line_are_announced_first(self, store: Store) -> None:
        waiting = [an_execution() for _ in range(4)]
        for execution in waiting:
            await done(store.add(execution))
        assert await dispatched(store, 1, limit=3) == [one.id for one in waiting[:3]]

    async def test_only_what_can_be_claimed_now_is_announced(self, store: Store) -> None:
        running = an_execution(Status.RUNNING)
        later = an_execution(available_at=NOW + 20 * MINUTE)
        for execution in (running, later, an_execution(driver=Driver.CALLER)):
            await done(store.add(execution))
        assert await dispatched(store, 19, pauses=[timedelta()]) == []
        await done(store.change(running.id, HandedBack(), now=NOW))
        assert await dispatched(store, 1) == [running.id]

    async def test_all_that_was_announced_before_some_moment_is_found(self, store: Store) -> None:
        old = an_execution()
        await done(store.add(old))
        await dispatched(store, 1)
        later = NOW + 4 * MINUTE
        new = an_execution(created_at=later, available_at=later)
        await done(store.add(new))
        since_minute_3 = (timedelta(), 2 * MINUTE)
        assert await dispatched(store, 5, since_minute_3) == [old.id, new.id]
        assert await dispatched(store, 5, since_minute_3) == []


READY = FlowDescription(
    health=FlowHealth.READY,
    description="Writes.",
    input_schema={"type": "object", "properties": {"ü": {"type": "integer"}}},
    graph=FlowGraph(nodes=({"name": "a", "emits": []},), edges=({"source": "a", "target": "b"},)),
    digest="0" * 64,
)


class FlowReportsContract:
    """What workers tell of flows."""

    async def test_the_newest_report_of_each_flow_is_kept_whole(self, store: Store) -> None:
        ready = FlowReport(
            name=POEM, ref="m:PoemFlow", description=READY, worker=ANN, reported_at=NOW
        )
        broken = FlowReport(
            name=FlowName("other_flow"),
            ref="m:OtherFlow",
            description=FlowDescription(health=FlowHealth.BROKEN, error="no", traceback="t\n"),
            worker=BOB,
            reported_at=NOW,
        )
        mended = replace(broken, description=READY, worker=ANN, reported_at=EXPIRY)
        assert list(await store.reported()) == []
        await done(store.report([ready, broken]))
        assert set(map(repr, await store.reported())) == {repr(ready), repr(broken)}
        await done(store.report([mended]))
        assert set(map(repr, await store.reported())) == {repr(ready), repr(mended)}
