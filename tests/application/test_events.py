"""Following an execution: replay, then live, then the end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from crewserve.application import events as following
from crewserve.application.events import Events
from crewserve.application.live import BUFFER, Live, OpenText
from crewserve.application.reading import Position, Shown
from crewserve.domain.event_log import Channel, Chunk, Entry, Wanted
from crewserve.domain.execution import Returned
from crewserve.domain.ids import ExecutionId
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, an_entry, an_execution
from crewserve.testing.stores import add_running, held_by

FOREVER = timedelta(seconds=600)


class Desk:
    def __init__(self, patience: timedelta = FOREVER) -> None:
        self.store = MemoryStore()
        self.live = Live(patience)
        self.events = Events(log=self.store, reader=self.store, live=self.live)

    async def running(self) -> ExecutionId:
        self.execution = await add_running(self.store)
        return self.execution.id

    def write(self, *entries: Entry) -> list[Entry]:
        """Returns them numbered. Nobody is told."""
        last = self.store.append(held_by(self.execution), entries).result() or 0
        return self.store._entries[self.execution.id][last - len(entries) : last]

    def tell(self, *entries: Entry) -> None:
        self.live.publish(self.execution.id, self.write(*entries))

    def end(self) -> None:
        self.store.change(self.execution.id, Returned(1), now=NOW).result()
        self.live.look(self.execution.id)

    async def all(self, position: Position | None = None, **filters: Any) -> list[Shown]:
        """Until the end."""
        found: list[Shown] = []
        async with asyncio.timeout(5):
            follow = self.events.follow(
                self.execution.id, position or Position(), Wanted(**filters)
            )
            async for some in follow:
                found += some
        return found


def sequences(shown: Sequence[Shown]) -> list[int]:
    return [one.entry.sequence for one in shown]


async def until_read(desk: Desk) -> None:
    async with asyncio.timeout(5):
        while not desk.live.is_read(desk.execution.id):
            await asyncio.sleep(0)


async def test_what_has_ended_is_replayed_and_the_stream_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "PAGE", 2)
    desk = Desk()
    await desk.running()
    desk.write(*(an_entry() for _ in range(4)))
    desk.end()
    assert sequences(await desk.all()) == list(range(1, 8))
    assert sequences(await desk.all(Position(5))) == [6, 7]
    assert await desk.all(Position(7)) == []
    assert not desk.live.is_read(desk.execution.id)


async def test_what_happens_meanwhile_is_shown_in_order_whatever_was_told() -> None:
    desk = Desk()
    await desk.running()
    reading = asyncio.create_task(desk.all())
    await until_read(desk)
    desk.tell(an_entry())
    desk.write(an_entry())  # nobody hears of it
    desk.tell(an_entry())
    await asyncio.sleep(0)
    desk.tell(an_entry())
    desk.end()
    assert sequences(await reading) == list(range(1, 8))


async def test_a_slow_reader_reads_the_log_and_loses_nothing() -> None:
    desk = Desk()
    await desk.running()
    follow = desk.events.follow(desk.execution.id, Position())
    found = list(await anext(follow))
    for _ in range(3 * BUFFER):  # while it does not read
        desk.tell(an_entry())
    [news] = desk.live._readers[desk.execution.id]
    assert len(news._items) <= BUFFER
    desk.end()
    async for some in follow:
        found += some
    assert sequences(found) == list(range(1, 3 * BUFFER + 4))


async def test_whoever_comes_late_gets_a_text_from_its_beginning() -> None:
    desk = Desk()
    await desk.running()
    text = OpenText(
        Chunk(type="llm_stream_chunk", at=NOW, step=None, parent=None, call="c", text=""), "Once"
    )
    with desk.live.writing(desk.execution.id, {text.key: text}):
        follow = desk.events.follow(desk.execution.id, Position())
        assert sequences(await anext(follow)) == [1, 2]
        [piece] = await anext(follow)
        await follow.aclose()
    assert (piece.entry.sequence, piece.entry.data["chunk"]) == (0, "Once")


async def test_filters_hide_the_end_and_yet_it_is_the_end() -> None:
    desk = Desk()
    await desk.running()
    desk.write(an_entry("mine", channel=Channel.CUSTOM), an_entry())
    desk.end()
    assert sequences(await desk.all(channels=[Channel.CUSTOM])) == [3]


async def test_an_execution_without_a_log_has_an_end_as_well() -> None:
    """It was recorded by a version that had none."""
    desk = Desk()
    await desk.running()
    desk.end()
    desk.store._entries.clear()
    assert await desk.all() == []


async def test_the_deletion_of_what_is_read_is_its_end() -> None:
    desk = Desk(timedelta(seconds=0.01))
    desk.execution = an_execution()
    await asyncio.wrap_future(desk.store.add(desk.execution))
    reading = asyncio.create_task(desk.all())
    await until_read(desk)
    await asyncio.wrap_future(desk.store.delete(desk.execution.id))
    assert len(await reading) <= 1


async def test_where_nobody_tells_the_log_is_looked_at() -> None:
    desk = Desk(timedelta(seconds=0.01))
    await desk.running()
    reading = asyncio.create_task(desk.all())
    await until_read(desk)
    desk.write(an_entry())
    desk.store.change(desk.execution.id, Returned(1), now=NOW).result()
    assert sequences(await reading) == [1, 2, 3, 4]


async def test_readers_do_not_hold_up_a_server_that_stops() -> None:
    desk = Desk()
    await desk.running()
    reading = asyncio.create_task(desk.all())
    waiting = asyncio.create_task(desk.events.when_ended(desk.execution.id, within=FOREVER))
    await until_read(desk)
    desk.live.close()
    assert sequences(await reading) == [1, 2]
    assert not (await waiting).status.is_terminal


async def test_whoever_waits_is_answered_at_the_end_or_when_the_time_is_over() -> None:
    desk = Desk()
    execution = await desk.running()
    assert not (await desk.events.when_ended(execution, within=timedelta())).status.is_terminal
    soon = timedelta(seconds=0.05)
    assert not (await desk.events.when_ended(execution, within=soon)).status.is_terminal
    waiting = asyncio.create_task(desk.events.when_ended(execution, within=FOREVER))
    await until_read(desk)
    desk.tell(an_entry())
    await asyncio.sleep(0)
    desk.end()
    assert (await asyncio.wait_for(waiting, 5)).status.is_terminal


async def test_a_look_from_another_thread_is_heard() -> None:
    desk = Desk()
    await desk.running()
    with desk.live.reading(desk.execution.id) as news:
        await asyncio.to_thread(desk.live.look, desk.execution.id)
        assert await asyncio.wait_for(news.next(), 5) is None
