"""What happens is written in order, whatever the database does meanwhile."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from crewserve.application.live import Live, OpenText
from crewserve.domain.errors import CrewserveError, StorageUnavailable, ValueRefused
from crewserve.domain.event_log import Channel, Chunk, Entry
from crewserve.ports import Held
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_new_id, an_entry
from crewserve.testing.stores import add_running, held_by
from crewserve.worker import recorder as recording
from crewserve.worker.recorder import Recorder

TEXT = "llm_stream_chunk"


class Moody(MemoryStore):
    """Fails as told, before or after it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: list[tuple[CrewserveError, bool]] = []
        self.appends: list[list[Entry]] = []

    def append(self, held: Held, entries: Sequence[Entry], **how: bool) -> Future[int | None]:
        self.appends.append(list(entries))
        if not self.moods:
            return super().append(held, entries, **how)
        error, writes = self.moods.pop(0)
        if writes:
            super().append(held, entries, **how).result()
        failed: Future[int | None] = Future()
        failed.set_exception(error)
        return failed


class Desk:
    def __init__(self, *, with_content: bool = True) -> None:
        self.store, self.live = Moody(), Live(timedelta(seconds=600))
        self.with_content = with_content

    async def start(self) -> Recorder:
        self.execution = await add_running(self.store)
        return Recorder(
            held_by(self.execution), self.store, self.live, self.with_content, self.store
        )

    async def logged(self, count: int) -> list[Entry]:
        """So many, besides what the store says."""
        async with asyncio.timeout(5):
            while len(found := self.store._entries[self.execution.id][2:]) < count:
                await asyncio.sleep(0)
        assert len(found) == count
        return found


def a_chunk(text: str, call: str = "c") -> Chunk:
    return Chunk(type=TEXT, at=NOW, step="write", parent="p", call=call, text=text)


def an_end(call: str = "c") -> Entry:
    return an_entry("llm_call_completed", channel=Channel.LLM, id="end", data={"call_id": call})


def named(*ids: str) -> list[Entry]:
    return [an_entry(id=one) for one in ids]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.01)


async def test_what_was_noted_is_written_soon_and_together() -> None:
    desk = Desk()
    recorder = await desk.start()
    await recorder.note(named("a"))
    await recorder.note(named("b"))
    assert [entry.id for entry in await desk.logged(2)] == ["a", "b"]
    assert len(desk.store.appends) == 1


async def test_a_flush_writes_at_once() -> None:
    desk = Desk()
    recorder = await desk.start()
    await recorder.note(named("a"))
    recorder.flush()
    recorder.flush()
    assert [[entry.id for entry in batch] for batch in desk.store.appends] == [["a"]]


@pytest.mark.parametrize("written", [True, False])
async def test_what_the_database_did_not_answer_is_there_once_and_in_order(
    *, written: bool
) -> None:
    desk = Desk()
    recorder = await desk.start()
    desk.store.moods = [(StorageUnavailable(), written), (StorageUnavailable(), False)]
    await recorder.note(named("a", "b"))
    recorder.flush()
    await asyncio.sleep(0)
    assert not recorder.is_settled
    await recorder.note(named("c"))
    recorder.close()
    assert [entry.id for entry in await desk.logged(3)] == ["a", "b", "c"]
    async with asyncio.timeout(5):
        while not recorder.is_settled:
            await asyncio.sleep(0)


async def test_whoever_tells_more_than_can_be_written_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "FULL", 2)
    desk = Desk()
    recorder = await desk.start()
    desk.store.moods = [(StorageUnavailable(), False)] * 3
    async with asyncio.timeout(5):
        await recorder.note(named("a", "b", "c"))
    assert desk.store.moods == []
    await desk.logged(3)


async def test_what_is_refused_is_told_in_plain_letters_or_not_at_all() -> None:
    desk = Desk()
    recorder = await desk.start()
    desk.store.moods = [(ValueRefused("encoding"), False)]
    await recorder.note([an_entry(step="ü", id="a", data={"ü": "ü"})])
    [one] = await desk.logged(1)
    assert (one.step, one.data) == ("\\xfc", {"ü": "ü"})
    desk.store.moods = [(ValueRefused("encoding"), False)] * 2
    await recorder.note(named("b"))
    recorder.flush()
    async with asyncio.timeout(5):
        while desk.store.moods:
            await asyncio.sleep(0)
    await recorder.note(named("c"))
    recorder.flush()
    assert [entry.id for entry in await desk.logged(2)] == ["a", "c"]


async def test_of_an_attempt_that_is_another_s_nothing_is_written() -> None:
    desk = Desk()
    await desk.start()
    stale = Recorder(Held(desk.execution.id, 99), desk.store, desk.live, True, desk.store)  # noqa: FBT003
    await stale.note(named("a"))
    stale.flush()
    async with asyncio.timeout(5):
        while not stale._is_lost:
            await asyncio.sleep(0)
    await stale.note(named("b"))
    stale.close()
    assert len(desk.store.appends) == 1
    await desk.logged(0)


async def test_a_text_is_kept_as_one_entry_before_the_end_of_its_call() -> None:
    desk = Desk()
    recorder = await desk.start()
    await recorder.note([a_chunk("Once"), a_chunk("other", "d"), a_chunk(" upon"), an_end()])
    recorder.close()
    first, end, other = await desk.logged(3)
    assert (first.type, first.step, end.id) == (TEXT, "write", "end")
    assert first.data == {"call_id": "c", "characters": 9, "chunk": "Once upon", "offset": 0}
    assert other.data["chunk"] == "other"  # its call never ended: the process died


async def test_without_content_a_text_is_shown_and_not_kept() -> None:
    desk = Desk(with_content=False)
    recorder = await desk.start()
    with desk.live.reading(desk.execution.id) as news:
        await recorder.note([a_chunk("private")])
        [item] = await news.next() or []
    recorder.close()
    [kept] = await desk.logged(1)
    assert isinstance(item, OpenText)
    assert item.text == "private"
    assert kept.data == {"call_id": "c", "characters": 7}


async def test_a_secret_that_came_in_pieces_is_not_kept() -> None:
    desk = Desk()
    recorder = await desk.start()
    await recorder.note([a_chunk("sk-abcdef"), a_chunk("ghijklmnop")])
    recorder.close()
    [kept] = await desk.logged(1)
    assert kept.data["chunk"] == "[redacted]"


async def test_a_text_that_is_too_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_TEXT", 5)
    desk = Desk()
    recorder = await desk.start()
    await recorder.note([a_chunk("Once "), a_chunk("upon")])
    recorder.close()
    [kept] = await desk.logged(1)
    assert (kept.data["chunk"], kept.data["cut"]) == ("Once ", True)


async def test_readers_are_told_in_order_with_numbers() -> None:
    desk = Desk()
    recorder = await desk.start()
    seen: list[Any] = []
    with desk.live.reading(desk.execution.id) as news:
        await recorder.note([*named("a"), a_chunk("x"), *named("b")])
        recorder.flush()
        await recorder.note([a_chunk("y"), an_end()])
        recorder.close()
        while len(seen) < 7:
            seen += await news.next(5) or []
    told = [one.sequence if isinstance(one, Entry) else "text" for one in seen]
    assert told == [3, "text", 4, "text", "text", 5, 6]


async def test_an_unknown_execution_does_no_harm() -> None:
    store = MemoryStore()
    recorder = Recorder(Held(a_new_id(), 1), store, Live(timedelta(1)), False, store)  # noqa: FBT003
    await recorder.note(named("a"))
    recorder.close()
    await asyncio.sleep(0)
