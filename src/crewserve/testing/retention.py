"""What every store promises of forgetting."""

from datetime import timedelta

from crewserve.domain.execution import Execution, Returned
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_line, a_new_id, a_step, an_entry, an_execution
from crewserve.testing.reading import created_at
from crewserve.testing.stores import Store, add_running, done, held_by

DAY = timedelta(days=1)


async def add_ended(store: Store, *days: int) -> list[Execution]:
    """One for each, which ended so many days after `NOW`."""
    ended = []
    for number in days:
        moment = NOW + number * DAY
        made = created_at(moment)
        ended.append(
            an_execution(Status.COMPLETED, id=made.id, created_at=moment, completed_at=moment)
        )
        await done(store.add(ended[-1]))
    return ended


class RetentionContract:
    """The oldest that ended, and nothing else."""

    async def test_what_ended_before_a_time_has_expired(self, store: Store) -> None:
        ended = [
            an_execution(status, id=created_at(NOW).id, completed_at=NOW + number * DAY)
            for number, status in enumerate([Status.FAILED, Status.CANCELLED, Status.COMPLETED])
        ]
        for execution in (*ended, an_execution(), an_execution(Status.RUNNING)):
            await done(store.add(execution))
        cutoff = NOW + 2 * DAY
        found = await store.expired(ended_before=cutoff, beyond=None, limit=9)
        assert list(found) == ended[:2]
        assert list(await store.expired(ended_before=cutoff, beyond=None, limit=1)) == ended[:1]
        assert list(await store.expired(ended_before=NOW, beyond=None, limit=9)) == []

    async def test_what_has_so_many_newer_ones_has_expired(self, store: Store) -> None:
        ended = await add_ended(store, 0, 1, 2, 3)
        await done(store.add(an_execution()))
        for beyond, expected in ((1, ended[:3]), (3, ended[:1]), (4, []), (9, [])):
            found = await store.expired(ended_before=None, beyond=beyond, limit=9)
            assert list(found) == expected, beyond
        found = await store.expired(ended_before=NOW + 2 * DAY, beyond=3, limit=9)
        assert list(found) == ended[:2]

    async def test_all_that_belongs_to_it_goes_little_by_little(self, store: Store) -> None:
        running = await add_running(store, parent=a_new_id())
        held = held_by(running)
        await done(store.append(held, [an_entry() for _ in range(7)]))
        await done(store.append_lines(held, [a_line(number) for number in range(1, 8)]))
        await done(store.record(held, a_step()))
        await done(store.change(running.id, Returned(1), now=NOW))
        [other] = await add_ended(store, 1)
        writes = 1
        while await done(store.forget([running.id], most=3)):
            writes += 1
            assert writes < 20
        assert list(await store.page(ExecutionQuery())) == [other]
        for read in (store.events, store.lines):
            assert list(await read(running.id, after=0, limit=9)) == []
        assert list(await store.steps(running.id)) == []
        assert list(await store.attempts(running.id)) == []

    async def test_what_has_not_ended_stays(self, store: Store) -> None:
        running = await add_running(store)
        assert await done(store.forget([running.id, a_new_id()], most=100)) is False
        assert (await store.get(running.id)).status is Status.RUNNING

    async def test_one_at_a_time_forgets(self, store: Store) -> None:
        async with store.alone() as first:
            assert first
        async with store.alone() as second:
            assert second
            assert await done(store.reclaim(pages=10)) is False
