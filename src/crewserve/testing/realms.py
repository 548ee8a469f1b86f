"""What every store promises to tenants: nothing outside of a realm exists for its readers."""

from datetime import timedelta

import pytest

from crewserve.domain.errors import ExecutionNotFound, StepNotRecorded
from crewserve.domain.execution import CancelRequested, Execution, Returned
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import FlowName, QueueName, Tenant
from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Grouping, Order
from crewserve.domain.realm import DEFAULT_TENANT, Realm
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_line, a_step, an_execution
from crewserve.testing.stores import OTHER, POEM, Store, add_running, claim, done, held_by
from crewserve.testing.usage import a_use

ACME = Tenant("acme")
HERE = Realm(tenant=ACME)
ELSEWHERE = Realm(tenant=DEFAULT_TENANT)
ONE_FLOW = Realm(tenant=ACME, flows=frozenset({POEM}))
OTHER_FLOW = Realm(tenant=ACME, flows=frozenset({OTHER}))
FAILED = {"failure": Failure(code=FailureCode.TIMEOUT, message="no")}


async def add_one_of_acme(store: Store) -> Execution:
    """It runs and has a step."""
    running = await add_running(store, tenant=ACME)
    await done(store.record(held_by(running), a_step()))
    await done(store.append(held_by(running), [a_use()]))
    await done(store.append_lines(held_by(running), [a_line()]))
    return running


class RealmsContract:
    """Reading and writing within a realm."""

    async def test_a_tenant_is_kept(self, store: Store) -> None:
        found = await add_one_of_acme(store)
        assert (await store.get(found.id)).tenant == ACME
        assert (await done(store.current(found.id))).tenant == ACME

    @pytest.mark.parametrize("realm", [HERE, ONE_FLOW])
    async def test_what_is_in_a_realm_is_read_there(self, store: Store, realm: Realm) -> None:
        found = await add_one_of_acme(store)
        reader, log = store.within(realm), store.log_within(realm)
        assert (await reader.get(found.id)).id == found.id
        assert len(await reader.steps(found.id)) == 1
        assert len(await reader.step_page(found.id, after=0, limit=9)) == 1
        assert (await reader.step(found.id, 1)).position == 1
        assert len(await reader.attempts(found.id)) == 1
        assert len(await reader.usage(found.id)) == 1
        assert [one.executions for one in await reader.usage_by(ExecutionFilter(), [], 1)] == [1]
        assert len(await log.events(found.id, after=0, limit=9)) == 3
        output = store.output_within(realm)
        assert len(await output.lines(found.id, after=0, limit=9)) == 1

    @pytest.mark.parametrize("realm", [ELSEWHERE, OTHER_FLOW])
    async def test_what_is_outside_does_not_exist(self, store: Store, realm: Realm) -> None:
        found = await add_one_of_acme(store)
        reader, log = store.within(realm), store.log_within(realm)
        with pytest.raises(ExecutionNotFound):
            await reader.get(found.id)
        with pytest.raises(StepNotRecorded):
            await reader.step(found.id, 1)
        assert not await reader.steps(found.id)
        assert not await reader.step_page(found.id, after=0, limit=9)
        assert not await reader.attempts(found.id)
        assert not await reader.usage(found.id)
        assert [one.executions for one in await reader.usage_by(ExecutionFilter(), [], 1)] == [0]
        assert not await log.events(found.id, after=0, limit=9)
        assert not await store.output_within(realm).lines(found.id, after=0, limit=9)
        for order in Order:
            assert not await reader.page(ExecutionQuery(order=order))
        assert not await reader.queues()
        assert not await reader.bars(ExecutionFilter(), timedelta(hours=1))
        assert sum(one.number for one in await reader.count(ExecutionFilter(), [])) == 0

    async def test_lists_and_numbers_are_those_of_the_realm(self, store: Store) -> None:
        mine = [
            an_execution(Status.FAILED, tenant=ACME, flow=flow, **FAILED)
            for flow in (POEM, OTHER, POEM)
        ]
        theirs = [an_execution(Status.FAILED, **FAILED), an_execution()]
        for one in (*mine, *theirs):
            await done(store.add(one))
        both = Realm(tenant=ACME, flows=frozenset({POEM, OTHER}))
        for realm, expected in ((HERE, mine), (both, mine), (ONE_FLOW, [mine[0], mine[2]])):
            reader = store.within(realm)
            for query in (
                ExecutionQuery(),
                ExecutionQuery(codes=frozenset({FailureCode.TIMEOUT})),
                ExecutionQuery(statuses=frozenset({Status.FAILED, Status.PENDING})),
            ):
                assert await reader.page(query) == expected[::-1]
            [counted] = await reader.count(ExecutionFilter(), [Grouping.STATUS])
            assert counted.number == len(expected)
            [bar] = await reader.bars(ExecutionFilter(), timedelta(hours=1))
            assert bar.number == len(expected)
        assert not await store.within(OTHER_FLOW).page(ExecutionQuery(flow=POEM))
        assert len(await store.page(ExecutionQuery())) == 5

    async def test_a_realm_of_many_flows_is_read_like_any_other(self, store: Store) -> None:
        mine = [an_execution(tenant=ACME), an_execution(tenant=ACME, flow=OTHER)]
        for one in mine:
            await done(store.add(one))
        many = frozenset({POEM, OTHER, *(FlowName(f"flow_{number}") for number in range(200))})
        reader = store.within(Realm(tenant=ACME, flows=many))
        every = frozenset(Status)
        assert await reader.page(ExecutionQuery(statuses=every)) == mine[::-1]
        assert await reader.page(ExecutionQuery(statuses=every, flow=POEM)) == mine[:1]

    async def test_queues_are_counted_for_each_realm(self, store: Store) -> None:
        for tenant in (ACME, ACME, DEFAULT_TENANT):
            await done(store.add(an_execution(tenant=tenant)))
        for realm, expected in ((HERE, 2), (ELSEWHERE, 1)):
            [queue] = await store.within(realm).queues()
            assert (queue.name, queue.ready) == (QueueName(POEM), expected)

    async def test_a_place_in_line_is_told_in_its_realm_only(self, store: Store) -> None:
        waiting = an_execution(tenant=ACME)
        await done(store.add(waiting))
        assert await store.within(HERE).position(waiting.id, limit=9) == 1
        assert await store.within(ELSEWHERE).position(waiting.id, limit=9) is None

    async def test_nobody_changes_what_is_outside(self, store: Store) -> None:
        pending = an_execution(tenant=ACME)
        await done(store.add(pending))
        cancel = CancelRequested(timedelta())
        for realm in (ELSEWHERE, OTHER_FLOW):
            with pytest.raises(ExecutionNotFound):
                await done(store.change(pending.id, cancel, now=NOW, realm=realm))
            with pytest.raises(ExecutionNotFound):
                await done(store.delete(pending.id, realm=realm))
        cancelled = await done(store.change(pending.id, cancel, now=NOW, realm=ONE_FLOW))
        assert cancelled.status is Status.CANCELLED
        await done(store.delete(pending.id, realm=HERE))

    async def test_workers_run_what_belongs_to_anybody(self, store: Store) -> None:
        for tenant in (ACME, DEFAULT_TENANT):
            await done(store.add(an_execution(tenant=tenant)))
        claimed = await claim(store, limit=2)
        assert {one.tenant for one in claimed} == {ACME, DEFAULT_TENANT}
        for one in claimed:
            ended = await done(store.change(one.id, Returned(1), now=NOW, fence=one.fence))
            assert ended.tenant == one.tenant

    async def test_limits_hold_for_each_tenant_by_itself(self, store: Store) -> None:
        for key in ("", "acme/"):
            turn = Turn(queue=QueueName(POEM), key=key, max_running=1)
            for _ in range(2):
                await done(store.add(an_execution(turn=turn)))
        assert len(await claim(store, limit=9)) == 2
