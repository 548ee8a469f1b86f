"""What every store answers about labels."""

from crewserve.domain.execution import Execution
from crewserve.domain.labels import Label, Labels
from crewserve.domain.query import Count, ExecutionFilter, ExecutionQuery, Order
from crewserve.domain.status import Status
from crewserve.testing.builders import an_execution
from crewserve.testing.stores import OTHER, POEM, Store, add_running, claim, done, place_of

ACME = Labels(tags=("nightly", "big"), metadata={"customer": "acme", "seats": 3, "vip": True})
TAG, CUSTOMER = Label("tag", "nightly"), Label("metadata.customer", "acme")


async def add_all(store: Store) -> list[Execution]:
    """Four that differ in their labels, and one of another flow."""
    labels = [ACME, Labels(tags=("nightly",)), Labels(), Labels(metadata={"customer": "acme"})]
    executions = [an_execution(labels=one) for one in labels]
    executions.append(an_execution(flow=OTHER, labels=ACME))
    for execution in executions:
        await done(store.add(execution))
    return executions


class LabelsContract:
    """Tags and metadata."""

    async def test_they_are_read_back_as_they_were_given(self, store: Store) -> None:
        running = await add_running(store, labels=ACME)
        assert running.labels == ACME
        assert (await store.get(running.id)).labels.metadata == ACME.metadata
        [listed] = await store.page(ExecutionQuery())
        assert (listed.labels.tags, type(listed.labels.metadata["vip"])) == (ACME.tags, bool)

    async def test_pages_have_those_with_all_of_the_labels(self, store: Store) -> None:
        executions = await add_all(store)
        for labels, expected in (
            ({TAG}, [4, 1, 0]),
            ({CUSTOMER}, [4, 3, 0]),
            ({TAG, CUSTOMER, Label("metadata.seats", "3")}, [4, 0]),
            ({Label("metadata.vip", "true"), Label("tag", "big")}, [4, 0]),
            ({Label("metadata.customer", "nightly")}, []),
            ({TAG, Label("tag", "none")}, []),
        ):
            found = await store.page(ExecutionQuery(labels=frozenset(labels)))
            assert found == [executions[number] for number in expected], labels

    async def test_pages_meet_exactly_and_narrow_down(self, store: Store) -> None:
        executions = await add_all(store)
        labels = frozenset({TAG})
        first = await store.page(ExecutionQuery(labels=labels, limit=2))
        query = ExecutionQuery(labels=labels, limit=2, after=place_of(first[-1]))
        assert [*first, *await store.page(query)] == [executions[number] for number in (4, 1, 0)]
        query = ExecutionQuery(
            labels=labels, after=place_of(executions[0]), order=Order.OLDEST, flow=POEM
        )
        assert await store.page(query) == [executions[1]]
        await claim(store)
        statuses = frozenset({Status.RUNNING, Status.COMPLETED})
        [running] = await store.page(ExecutionQuery(labels=labels, statuses=statuses))
        assert running.id == executions[0].id

    async def test_counts_have_the_same_filters(self, store: Store) -> None:
        await add_all(store)
        both = ExecutionFilter(labels=frozenset({TAG, CUSTOMER}))
        assert await store.count(both, []) == [Count((), 2)]
        await claim(store)
        assert await store.count(ExecutionFilter(attempt=1), []) == [Count((), 1)]
        assert await store.count(ExecutionFilter(attempt=0), []) == [Count((), 4)]
        assert await store.count(ExecutionFilter(min_attempt=1), []) == [Count((), 1)]

    async def test_they_go_with_their_execution(self, store: Store) -> None:
        execution = an_execution(labels=ACME)
        await done(store.add(execution))
        await done(store.delete(execution.id))
        assert await store.page(ExecutionQuery(labels=frozenset({TAG}))) == []
