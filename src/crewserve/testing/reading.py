"""What every store answers to those who only read."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from crewserve.domain.errors import StepNotRecorded
from crewserve.domain.execution import Execution, Raised
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId
from crewserve.domain.query import Bar, Count, ExecutionFilter, ExecutionQuery, Grouping, Order
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_new_id, a_step, an_execution
from crewserve.testing.stores import LATER, OTHER, POEM, Store, add_running, done, place_of


def created_at(moment: datetime) -> Execution:
    """With an id of that time, as all but tests make it."""
    number = int(moment.timestamp() * 1000) << 80 | a_new_id().int % 2**80
    return an_execution(created_at=moment, id=ExecutionId(UUID(int=number)))


class ReadingContract:
    """Pages and filters."""

    async def test_pages_are_newest_first_and_meet_exactly(self, store: Store) -> None:
        executions = [an_execution() for _ in range(5)]
        for execution in executions:
            await done(store.add(execution))
        first = await store.page(ExecutionQuery(limit=3))
        second = await store.page(ExecutionQuery(limit=3, after=place_of(first[-1])))
        assert [*first, *second] == executions[::-1]

    async def test_filters_combine(self, store: Store) -> None:
        failure = Failure(code=FailureCode.FLOW_ERROR, message="no")
        wanted = an_execution(Status.FAILED, failure=failure)
        others = [an_execution(), an_execution(Status.FAILED, flow=OTHER, failure=failure)]
        for execution in (wanted, *others):
            await done(store.add(execution))
        query = ExecutionQuery(flow=POEM, statuses=frozenset({Status.FAILED}))
        assert await store.page(query) == [wanted]
        assert len(await store.page(ExecutionQuery(flow=POEM))) == 2
        assert len(await store.page(ExecutionQuery(statuses=frozenset({Status.FAILED})))) == 2

    async def test_several_statuses_and_codes_are_one_page_by_age(self, store: Store) -> None:
        def failed(code: FailureCode) -> Execution:
            return an_execution(Status.FAILED, failure=Failure(code=code, message="no"))

        kinds = [FailureCode.TIMEOUT, FailureCode.WORKER_LOST, FailureCode.FLOW_ERROR]
        executions = [failed(kinds[number % 3]) for number in range(9)]
        executions += [an_execution(), an_execution(Status.CANCELLED)]
        for execution in executions:
            await done(store.add(execution))
        statuses = frozenset({Status.CANCELLED, Status.FAILED})
        query = ExecutionQuery(statuses=statuses, limit=4)
        assert await store.page(query) == [executions[number] for number in (10, 8, 7, 6)]
        codes = frozenset(kinds[:2])
        query = ExecutionQuery(statuses=statuses, codes=codes, order=Order.OLDEST, limit=4)
        first = await store.page(query)
        rest = await store.page(replace(query, after=place_of(first[-1])))
        assert [*first, *rest] == [executions[number] for number in (0, 1, 3, 4, 6, 7)]

    async def test_results_are_left_out_when_nobody_wants_them(self, store: Store) -> None:
        await done(store.add(an_execution(Status.COMPLETED, result={"poem": "long"})))
        [whole] = await store.page(ExecutionQuery())
        [without] = await store.page(ExecutionQuery(results=False))
        assert (whole.result, without) == ({"poem": "long"}, replace(whole, result=None))

    async def test_errors_are_found_by_a_part_of_their_text(self, store: Store) -> None:
        texts = ["The key of OpenAI has expired", "100% of it", "a_b", "aXb"]
        executions = [
            an_execution(
                Status.FAILED, failure=Failure(code=FailureCode.FLOW_ERROR, message=message)
            )
            for message in texts
        ]
        for execution in (*executions, an_execution()):
            await done(store.add(execution))
        for text, expected in {
            "openai": [0],
            "100% o": [1],
            "%": [1],
            "a_b": [2],
            "x": [3, 0],
        }.items():
            found = await store.page(ExecutionQuery(error_text=text))
            assert found == [executions[number] for number in expected], text

    async def test_a_window_has_its_first_moment_and_not_its_last(self, store: Store) -> None:
        moments = [NOW + number * timedelta(milliseconds=1) for number in range(5)]
        executions = [created_at(moment) for moment in moments]
        for execution in executions:
            await done(store.add(execution))
        query = ExecutionQuery(created_from=moments[1], created_before=moments[3])
        assert await store.page(query) == [executions[2], executions[1]]
        query = ExecutionQuery(created_from=moments[4])
        assert await store.page(query) == [executions[4]]

    async def test_executions_are_counted_by_what_they_are(self, store: Store) -> None:
        lost = Failure(code=FailureCode.WORKER_LOST, message="no")
        executions = [an_execution() for _ in range(3)]
        executions += [an_execution(Status.FAILED, failure=lost), an_execution(flow=OTHER)]
        for execution in executions:
            await done(store.add(execution))
        everything, pending = ExecutionFilter(), frozenset({Status.PENDING})
        assert await store.count(everything, []) == [Count((), 5)]
        by = [Grouping.STATUS, Grouping.FLOW]
        assert set(await store.count(everything, by)) == {
            Count(("pending", POEM), 3),
            Count(("failed", POEM), 1),
            Count(("pending", OTHER), 1),
        }
        found = await store.count(ExecutionFilter(statuses=pending), [Grouping.CODE])
        assert found == [Count((None,), 4)]
        assert set(await store.count(everything, [Grouping.CODE])) == {
            Count((None,), 4),
            Count(("worker_lost",), 1),
        }

    async def test_executions_are_counted_over_time(self, store: Store) -> None:
        minute = timedelta(minutes=1)
        for seconds in (0, 59, 60, 200):
            await done(store.add(created_at(NOW + timedelta(seconds=seconds))))
        before = ExecutionFilter(created_before=NOW + 3 * minute)
        assert await store.bars(before, minute) == [
            Bar(NOW, Status.PENDING, 2),
            Bar(NOW + minute, Status.PENDING, 1),
        ]

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
