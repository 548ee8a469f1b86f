"""What every store keeps of what happens in executions."""

from datetime import timedelta

import pytest

from crewserve.domain.errors import StaleExecution, ValueRefused
from crewserve.domain.event_log import Channel, Wanted
from crewserve.domain.execution import CancelRequested, HandedBack, Raised, Returned
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId
from crewserve.ports import Held
from crewserve.testing.builders import NOW, a_new_id, an_entry, an_execution
from crewserve.testing.stores import LATER, Store, add_running, claim, done, held_by


async def types(store: Store, execution_id: ExecutionId) -> list[str]:
    """In order; their numbers are checked."""
    found = await store.events(execution_id, after=0, limit=1000)
    assert [entry.sequence for entry in found] == list(range(1, len(found) + 1))
    return [entry.type for entry in found]


class EventLogContract:
    """One ordered log for each execution."""

    async def test_entries_are_read_back_whole_and_numbered(self, store: Store) -> None:
        running = await add_running(store)
        entries = [
            an_entry("method_execution_started", step="write#2", id="a", parent="b"),
            an_entry("my_event", channel=Channel.CUSTOM, data={"ü\0\ud800": [1.5, None, "x"]}),
        ]
        last = await done(store.append(held_by(running), entries))
        found = await store.events(running.id, after=2, limit=9)
        assert (last, [entry.sequence for entry in found]) == (4, [3, 4])
        assert [(one.type, one.channel, one.at, one.step) for one in found] == [
            ("method_execution_started", Channel.FLOW, NOW, "write#2"),
            ("my_event", Channel.CUSTOM, NOW, None),
        ]
        assert (found[0].id, found[0].parent, found[1].data) == ("a", "b", entries[1].data)

    async def test_the_log_tells_what_became_of_an_execution(self, store: Store) -> None:
        failure = Failure(code=FailureCode.FLOW_ERROR, message="boom", step="write")
        running = await add_running(store, max_attempts=3)
        await done(store.change(running.id, HandedBack(), now=NOW))
        await claim(store)
        await done(store.reap(lost=[], limit=10, now=LATER))
        [running] = await claim(store, now=LATER, lease_expires_at=LATER + timedelta(seconds=9))
        cancel = CancelRequested(timedelta(seconds=5), "enough")
        await done(store.change(running.id, cancel, now=LATER))
        await done(store.change(running.id, Raised(failure), now=LATER))
        assert await types(store, running.id) == [
            "execution_accepted",
            *("attempt_started", "attempt_ended") * 2,
            *("attempt_started", "cancel_requested", "execution_cancelled"),
        ]
        found = await store.events(running.id, after=0, limit=9)
        assert {entry.channel for entry in found} == {Channel.LIFECYCLE}
        assert [entry.data.get("outcome") for entry in found[2:5:2]] == ["handed_back", "lost"]
        assert found[-1].data == {"attempt": 2, "reason": "enough"}

    async def test_a_failure_is_the_last_thing_that_is_told(self, store: Store) -> None:
        running = await add_running(store)
        failure = Failure(code=FailureCode.FLOW_ERROR, message="boom", type="E", step="write")
        await done(store.change(running.id, Raised(failure), now=NOW))
        last = (await store.events(running.id, after=2, limit=9))[0]
        told = {"code": "flow_error", "error": "boom", "error_type": "E", "step": "write"}
        assert (last.type, last.data) == ("execution_failed", {"attempt": 1, **told})

    async def test_numbers_go_on_in_the_next_attempt(self, store: Store) -> None:
        first = await add_running(store, max_attempts=2)
        await done(store.append(held_by(first), [an_entry("a")]))
        await done(store.reap(lost=[], limit=10, now=LATER))
        [second] = await claim(store, now=LATER, lease_expires_at=LATER + timedelta(seconds=9))
        await done(store.append(held_by(second), [an_entry("b")]))
        assert (await types(store, first.id))[2:] == ["a", "attempt_ended", "attempt_started", "b"]

    async def test_nobody_logs_what_is_another_s_or_has_ended(self, store: Store) -> None:
        running = await add_running(store)
        held = held_by(running)
        for stale in (held._replace(fence=held.fence - 1), Held(a_new_id(), 1)):
            with pytest.raises(StaleExecution):
                await done(store.append(stale, [an_entry()]))
        await done(store.change(running.id, Returned(1), now=NOW))
        with pytest.raises(StaleExecution):
            await done(store.append(held, [an_entry()]))
        assert (await types(store, running.id))[-1] == "execution_completed"

    async def test_a_write_whose_answer_was_lost_is_not_doubled(self, store: Store) -> None:
        running = await add_running(store)
        held, entries = held_by(running), [an_entry(id=name) for name in "abc"]
        await done(store.append(held, entries[:2]))
        assert await done(store.append(held, entries, again=True)) == 5
        found = await store.events(running.id, after=2, limit=9)
        assert [entry.id for entry in found] == ["a", "b", "c"]

    async def test_pages_and_filters_keep_the_order(self, store: Store) -> None:
        running = await add_running(store)
        kinds = [("a", Channel.LLM), ("b", Channel.FLOW), ("c", Channel.LLM)]
        entries = [an_entry(name, channel=channel) for name, channel in kinds]
        await done(store.append(held_by(running), entries))
        for wanted, after, expected in (
            (Wanted(channels=[Channel.LLM]), 0, [3, 5]),
            (Wanted(types=["b", "c"]), 0, [4, 5]),
            (Wanted(channels=[Channel.LLM], types=["b", "c"]), 0, [5]),
            (Wanted(), 3, [4, 5]),
            (Wanted(types=["nothing"]), 0, []),
        ):
            found = await store.events(running.id, after=after, limit=9, wanted=wanted)
            assert [entry.sequence for entry in found] == expected
        assert [one.sequence for one in await store.events(running.id, after=1, limit=2)] == [2, 3]

    async def test_what_no_database_holds_is_refused(self, store: Store) -> None:
        running = await add_running(store)
        with pytest.raises(ValueRefused):
            await done(store.append(held_by(running), [an_entry(data={"n": float("nan")})]))
        assert len(await types(store, running.id)) == 2

    async def test_the_log_goes_with_its_execution(self, store: Store) -> None:
        execution = an_execution()
        await done(store.add(execution))
        assert await types(store, execution.id) == ["execution_accepted"]
        await done(store.delete(execution.id))
        assert await types(store, execution.id) == []
