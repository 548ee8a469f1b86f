"""What is printed is written, whatever the database does meanwhile."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta

import pytest

from crewserve.application.live import Live
from crewserve.domain.errors import CrewserveError, StorageUnavailable, ValueRefused
from crewserve.domain.output import Line
from crewserve.ports import Held
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import a_line, a_new_id
from crewserve.testing.stores import add_running, held_by
from crewserve.worker import output
from crewserve.worker.output import MOST, OutputRecorder


class Moody(MemoryStore):
    """Fails as told, after it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: list[CrewserveError] = []

    def append_lines(self, held: Held, lines: Sequence[Line]) -> Future[None]:
        written = super().append_lines(held, lines)
        if not self.moods:
            return written
        failed: Future[None] = Future()
        failed.set_exception(self.moods.pop())
        return failed


@pytest.fixture
def store() -> Moody:
    return Moody()


async def a_recorder(store: Moody) -> OutputRecorder:
    running = await add_running(store)
    return OutputRecorder(held_by(running), store, Live(timedelta(seconds=600)))


async def test_lines_are_numbered_and_readers_woken(store: Moody) -> None:
    recorder = await a_recorder(store)
    with recorder.live.awaiting_output(recorder.held.id) as news:
        for _ in range(3):
            recorder.add(a_line(0))
        recorder.flush()
        async with asyncio.timeout(5):
            assert await news.next() is None
    found = await store.lines(recorder.held.id, after=0, limit=9)
    assert [line.sequence for line in found] == [1_000_001, 1_000_002, 1_000_003]


async def test_a_write_whose_answer_was_lost_is_repeated(
    store: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "RETRY_SECONDS", 0)
    recorder = await a_recorder(store)
    store.moods = [StorageUnavailable(), StorageUnavailable()]
    recorder.add(a_line(0))
    recorder.flush()
    await asyncio.sleep(0)
    assert not recorder.is_settled
    async with asyncio.timeout(5):
        while store.moods or not recorder.is_settled:
            await asyncio.sleep(0)
    assert len(await store.lines(recorder.held.id, after=0, limit=9)) == 1


async def test_a_process_that_does_not_cut_its_lines_is_cut(store: Moody) -> None:
    recorder = await a_recorder(store)
    for _ in range(MOST + 50):
        recorder.add(a_line(0))
    recorder.flush()
    assert len(await store.lines(recorder.held.id, after=0, limit=2 * MOST)) == MOST


async def test_what_is_another_s_or_refused_is_given_up(store: Moody) -> None:
    stale = OutputRecorder(Held(a_new_id(), 1), store, Live(timedelta(1)))
    refused = await a_recorder(store)
    store.moods = [ValueRefused("no")]
    for recorder in (refused, stale):
        recorder.add(a_line(0))
        recorder.flush()
        await asyncio.sleep(0)
        assert recorder.is_settled
        assert not recorder.has_news
