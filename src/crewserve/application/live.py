"""Waking those who read what happens, at the moment when it does.

The log is what counts: readers read there whatever they were not handed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Any, Final
from zlib import crc32

from crewserve.domain.event_log import Channel, Chunk, Entry
from crewserve.domain.ids import ExecutionId

BUFFER: Final = 256
"""Items that a reader may be late. One that is later reads the log."""


def text_key(type_: str, call: str) -> str:
    """What tells the texts of an execution apart, in eight characters."""
    return f"{crc32(f'{type_} {call}'.encode()):08x}"


@dataclass(slots=True, eq=False)
class OpenText:
    """What a model has written until now."""

    last: Chunk
    text: str = ""

    @property
    def key(self) -> str:
        return text_key(self.last.type, self.last.call)

    def entry(self, data: Mapping[str, Any], *, id: str | None = None) -> Entry:  # noqa: A002  # the entry's
        """What is told of it now."""
        last = self.last
        return Entry(
            type=last.type,
            channel=Channel.LLM,
            at=last.at,
            step=last.step,
            id=id,
            parent=last.parent,
            data={"call_id": last.call, **data},
        )


Item = Entry | OpenText
"""An entry with its number, or a text that has grown. Of texts only the newest state counts."""


@dataclass(slots=True, eq=False)
class News:
    """One reader's end."""

    patience: float
    """Seconds without news after which it shall look all the same."""
    is_over: Callable[[], bool]
    _items: deque[Item] = field(default_factory=deque)
    _must_look: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, items: Sequence[Item]) -> None:
        """Hand them over."""
        self._items.extend(items)
        self._woken.set()
        if self._must_look or len(self._items) > BUFFER:
            self.look()

    def look(self) -> None:
        """There may be something in the log. Texts are not in it."""
        texts = dict.fromkeys(item for item in self._items if isinstance(item, OpenText))
        self._items = deque(texts)
        self._must_look = True
        self._woken.set()

    async def next(self, within: float = inf) -> Sequence[Item] | None:
        """What came since, in order; None: look into the log. At the end, at once and for ever."""
        if not self._woken.is_set() and not self.is_over():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(within, self.patience)):
                    await self._woken.wait()
        if self._must_look or not self._items:
            self._must_look = False
            if not self._items:
                self._woken.clear()
            return None
        self._woken.clear()
        items = list(self._items)
        self._items.clear()
        return items


class Live:
    """Knows who reads. Belongs to one event loop; only `look` may be called from elsewhere."""

    def __init__(self, patience: timedelta) -> None:
        """*patience* is short where others write, whom this process does not hear."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._patience = patience.total_seconds()
        self._readers: dict[ExecutionId, set[News]] = {}
        self._of_output: dict[ExecutionId, set[News]] = {}
        self._texts: dict[ExecutionId, Mapping[str, OpenText]] = {}
        self._over = False

    def wait_at_most(self, patience: timedelta) -> None:
        """Of those that read from now on."""
        self._patience = patience.total_seconds()

    @property
    def is_over(self) -> bool:
        """Whether the server stops: nobody should wait for anything more."""
        return self._over

    @contextmanager
    def reading(self, execution_id: ExecutionId) -> Iterator[News]:
        """From now on nothing is missed: what was before is in the log."""
        with self._among(self._readers, execution_id) as news:
            if texts := self._texts.get(execution_id):
                news.put(list(texts.values()))
            yield news

    @contextmanager
    def awaiting_output(self, execution_id: ExecutionId) -> Iterator[News]:
        """The same for those who only read what it prints: they are never handed anything."""
        with self._among(self._of_output, execution_id) as news:
            yield news

    @contextmanager
    def _among(self, all_: dict[ExecutionId, set[News]], of: ExecutionId) -> Iterator[News]:
        self._loop = asyncio.get_running_loop()
        news = News(self._patience, lambda: self._over)
        readers = all_.setdefault(of, set())
        readers.add(news)
        try:
            yield news
        finally:
            readers.discard(news)
            if not readers and all_.get(of) is readers:
                del all_[of]

    def is_read(self, execution_id: ExecutionId) -> bool:
        """Whether anybody reads."""
        return execution_id in self._readers

    def publish(self, execution_id: ExecutionId, items: Sequence[Item]) -> None:
        """What is in the log now, and what grew."""
        for news in self._readers.get(execution_id, ()):
            news.put(items)

    def look(self, execution_id: ExecutionId) -> None:
        """Somebody wrote to its log, or to the execution. From any thread."""
        is_read = execution_id in self._readers or execution_id in self._of_output
        if is_read and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and so has the reader
                self._loop.call_soon_threadsafe(self._look, execution_id)

    def look_for_output(self, execution_id: ExecutionId) -> None:
        """It printed something, which is written. In this loop."""
        for news in self._of_output.get(execution_id, ()):
            news.look()

    def _look(self, execution_id: ExecutionId) -> None:
        for news in self._readers.get(execution_id, ()):
            news.look()
        self.look_for_output(execution_id)

    def look_at_all(self) -> None:
        """Messages may have been missed."""
        for execution_id in self._readers.keys() | self._of_output.keys():
            self._look(execution_id)

    @contextmanager
    def writing(self, execution_id: ExecutionId, texts: Mapping[str, OpenText]) -> Iterator[None]:
        """Let those who come later read *texts* from their beginning."""
        self._texts[execution_id] = texts
        try:
            yield
        finally:
            if self._texts.get(execution_id) is texts:
                del self._texts[execution_id]

    def close(self) -> None:
        """Let all readers come to their end."""
        self._over = True
        self.look_at_all()
