"""What every store promises of what executions print and log."""

from dataclasses import replace
from datetime import timedelta

import pytest

from crewserve.domain.errors import StaleExecution
from crewserve.domain.execution import Returned
from crewserve.domain.output import Level, Line, Stream, WantedLines
from crewserve.ports import Held
from crewserve.testing.builders import NOW, a_line, a_new_id
from crewserve.testing.stores import LATER, Store, add_running, claim, done, held_by

MIXED = [
    a_line(1, text="ü\N{DROMEDARY CAMEL}\ttab", step="write"),
    a_line(2, stream=Stream.STDERR),
    a_line(3, stream=Stream.LOG, level=Level.INFO, logger="a.b", step="write#2"),
    a_line(4, stream=Stream.LOG, level=Level.ERROR, logger="a.b", text="two\nlines"),
]


class OutputContract:
    """Lines, page by page."""

    async def test_lines_are_read_back_in_their_order(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.append_lines(held_by(running), MIXED[2:]))
        await done(store.append_lines(held_by(running), MIXED[:2]))
        assert list(await store.lines(running.id, after=0, limit=9)) == MIXED
        assert list(await store.lines(running.id, after=1, limit=2)) == MIXED[1:3]
        assert list(await store.lines(a_new_id(), after=0, limit=9)) == []

    async def test_a_write_that_is_repeated_changes_nothing(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.append_lines(held_by(running), MIXED[:2]))
        again = [replace(line, text="other") for line in MIXED[:2]]
        await done(store.append_lines(held_by(running), [*again, MIXED[2]]))
        assert list(await store.lines(running.id, after=0, limit=9)) == MIXED[:3]

    async def test_filters_keep_the_order(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.append_lines(held_by(running), MIXED))
        for wanted, expected in (
            (WantedLines(streams=[Stream.LOG]), [3, 4]),
            (WantedLines(streams=[Stream.STDOUT, Stream.STDERR]), [1, 2]),
            (WantedLines(levels=Level.WARNING.and_above), [4]),
            (WantedLines(step="write"), [1]),
            (WantedLines(streams=[Stream.STDERR], step="write"), []),
        ):
            found = await store.lines(running.id, after=0, limit=9, wanted=wanted)
            assert [line.sequence for line in found] == expected, wanted

    async def test_nobody_writes_lines_of_what_is_another_s_or_has_ended(
        self, store: Store
    ) -> None:
        running = await add_running(store, max_attempts=2)
        held = held_by(running)
        await done(store.reap(lost=[], limit=10, now=LATER))
        [second] = await claim(store, now=LATER, lease_expires_at=LATER + timedelta(seconds=9))
        for stale in (held, Held(a_new_id(), 1)):
            with pytest.raises(StaleExecution):
                await done(store.append_lines(stale, MIXED))
        await done(store.append_lines(held_by(second), MIXED[:1]))
        await done(store.change(second.id, Returned(1), now=NOW))
        with pytest.raises(StaleExecution):
            await done(store.append_lines(held_by(second), MIXED[1:]))
        assert list(await store.lines(second.id, after=0, limit=9)) == MIXED[:1]

    async def test_lines_go_with_their_execution(self, store: Store) -> None:
        running = await add_running(store)
        await done(store.append_lines(held_by(running), MIXED))
        await done(store.change(running.id, Returned(1), now=NOW))
        await done(store.delete(running.id))
        found: list[Line] = list(await store.lines(running.id, after=0, limit=9))
        assert found == []
