"""What every store answers to those who only read."""

from dataclasses import replace

import pytest

from crewserve.domain.errors import StepNotRecorded
from crewserve.domain.execution import Raised
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.status import Status
from crewserve.ports import ExecutionQuery
from crewserve.testing.builders import a_new_id, a_step, an_execution
from crewserve.testing.stores import LATER, OTHER, POEM, Store, add_running, done


class ReadingContract:
    """Pages and filters."""

    async def test_pages_are_newest_first_and_meet_exactly(self, store: Store) -> None:
        executions = [an_execution() for _ in range(5)]
        for execution in executions:
            await done(store.add(execution))
        first = await store.page(ExecutionQuery(limit=3))
        second = await store.page(ExecutionQuery(limit=3, before=first[-1].id))
        assert [*first, *second] == executions[::-1]

    async def test_filters_combine(self, store: Store) -> None:
        failure = Failure(code=FailureCode.FLOW_ERROR, message="no")
        wanted = an_execution(Status.FAILED, failure=failure)
        others = [an_execution(), an_execution(Status.FAILED, flow=OTHER, failure=failure)]
        for execution in (wanted, *others):
            await done(store.add(execution))
        query = ExecutionQuery(flow=POEM, status=Status.FAILED)
        assert await store.page(query) == [wanted]
        assert len(await store.page(ExecutionQuery(flow=POEM))) == 2
        assert len(await store.page(ExecutionQuery(status=Status.FAILED))) == 2

    async def test_a_raised_failure_is_read_back(self, store: Store) -> None:
        running = await add_running(store)
        failure = Failure(code=FailureCode.FLOW_ERROR, message="boom", type="ValueError", step="a")
        await done(store.change(running.id, Raised(failure), now=LATER))
        read = await store.get(running.id)
        assert (read.status, read.failure, read.completed_at) == (Status.FAILED, failure, LATER)

    async def test_steps_come_in_pages_without_their_states(self, store: Store) -> None:
        steps = [a_step(position, result=["ü", position]) for position in range(1, 6)]
        forked = an_execution(parent=a_new_id())
        await done(store.add(forked, steps))
        await done(store.add(an_execution(parent=a_new_id()), steps))
        first = await store.step_page(forked.id, after=0, limit=3)
        second = await store.step_page(forked.id, after=first[-1].position, limit=3)
        assert [*first, *second] == [replace(step, state=None) for step in steps]
        assert list(await store.step_page(forked.id, after=2**31 - 1, limit=3)) == []
        assert list(await store.step_page(a_new_id(), after=0, limit=3)) == []

    async def test_one_step_comes_whole(self, store: Store) -> None:
        steps = [a_step(1), a_step(2, state=None, problem="no JSON")]
        forked = an_execution(parent=a_new_id())
        await done(store.add(forked, steps))
        assert [await store.step(forked.id, position) for position in (1, 2)] == steps
        for missing in ((forked.id, 3), (a_new_id(), 1)):
            with pytest.raises(StepNotRecorded):
                await store.step(*missing)
