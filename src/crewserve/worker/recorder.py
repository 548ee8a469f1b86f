"""Writing what happens in one attempt, and telling those who read."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final

from crewserve.application.live import Item, Live, OpenText, text_key
from crewserve.application.refused import plain_entry
from crewserve.domain.errors import StaleExecution, StorageUnavailable, ValueRefused
from crewserve.domain.event_log import Chunk, Entry
from crewserve.domain.output import Line
from crewserve.domain.redaction import redact
from crewserve.ports import EventLog, Held, OutputLog
from crewserve.worker.output import OutputRecorder

log = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.01
"""How long an entry waits for others to be written with it; its child has gathered before."""

RETRY_SECONDS: Final = 1.0

FULL: Final = 5000
"""Items that are not written. Who tells more waits, and so does the flow."""

MAX_TEXT: Final = 262_144
"""Characters of one text of a model; what is longer is cut."""

_ENDS_TEXT: Final = frozenset({"llm_call_completed", "llm_call_failed"})


@dataclass(slots=True)
class _Batch:
    items: list[Item]
    again: bool
    is_plain: bool
    written: "Future[int | None]"


@dataclass(slots=True, eq=False)
class Recorder:
    """Order is that of `note`. What follows a `flush` in the store follows it in the database."""

    held: Held
    log: EventLog
    live: Live
    with_content: bool
    output_log: OutputLog
    _output: OutputRecorder = field(init=False)
    _texts: dict[str, OpenText] = field(default_factory=dict)
    _pending: list[Item] = field(default_factory=list)
    _in_flight: deque[_Batch] = field(default_factory=deque)
    _failed: list[Item] = field(default_factory=list)
    """Perhaps written all the same."""
    _timer: asyncio.TimerHandle | None = None
    _is_lost: bool = False
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._output = OutputRecorder(self.held, self.output_log, self.live)
        self._open.enter_context(self.live.writing(self.held.id, self._texts))
        self._room.set()

    async def note(self, happened: Sequence[Entry | Chunk | Line]) -> None:
        """Take it; returns when there is room for more."""
        for one in happened:
            if isinstance(one, Chunk):
                self._grow(one)
            elif isinstance(one, Line):
                self._output.add(one)
            else:
                self._close_texts(one)
                self._pending.append(one)
        if self._timer is None and (self._pending or self._output.has_news):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_SECONDS, self._flush_in_time)
        if len(self._pending) + len(self._failed) > FULL:
            self._room.clear()
        await self._room.wait()

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits for the database to come back."""
        return not self._failed and self._output.is_settled

    def flush(self) -> None:
        """Ask the logs to write what was noted."""
        self._output.flush()
        if not self._pending or self._failed or self._is_lost:
            return
        items, self._pending = self._pending, []
        self._write(items)

    def close(self) -> None:
        """The attempt has ended: texts end where they are."""
        for key in list(self._texts):
            self._end_text(key)
        self.flush()
        self._open.close()

    def drop(self) -> None:
        """The attempt is somebody else's."""
        self._is_lost = True
        self._output.drop()
        self._pending.clear()
        self._failed.clear()
        self._room.set()
        self._open.close()

    def _flush_in_time(self) -> None:
        self._timer = None
        self.flush()

    def _grow(self, chunk: Chunk) -> None:
        text = self._texts.setdefault(text_key(chunk.type, chunk.call), OpenText(chunk))
        text.text = (text.text + chunk.text)[:MAX_TEXT]
        text.last = chunk
        if self._pending or self._in_flight or self._failed:  # not before what happened earlier
            self._pending.append(text)
        else:
            self.live.publish(self.held.id, [text])

    def _close_texts(self, entry: Entry) -> None:
        if entry.type in _ENDS_TEXT:
            call = str(entry.data.get("call_id"))
            for key in [key for key, text in self._texts.items() if text.last.call == call]:
                self._end_text(key)

    def _end_text(self, key: str) -> None:
        text = self._texts.pop(key)
        self._pending += [text, self._kept(text)]

    def _kept(self, text: OpenText) -> Entry:
        data: dict[str, Any] = {"characters": len(text.text)}
        if self.with_content:
            data |= {"chunk": redact(text.text), "offset": 0}  # its pieces may each look harmless
        if len(text.text) == MAX_TEXT:
            data["cut"] = True
        return text.entry(data, id=text.key)

    def _write(self, items: list[Item], *, again: bool = False, is_plain: bool = False) -> None:
        entries = [item for item in items if isinstance(item, Entry)]
        if not entries and self._in_flight:
            self._in_flight[-1].items += items
            return
        if not entries:
            self.live.publish(self.held.id, items)
            return
        numbered = self.live.is_read(self.held.id)
        written = self.log.append(self.held, entries, again=again, numbered=numbered)
        self._in_flight.append(_Batch(items, again, is_plain, written))
        loop = asyncio.get_running_loop()
        written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._settle))

    def _settle(self) -> None:
        while self._in_flight and self._in_flight[0].written.done():
            self._settle_one(self._in_flight.popleft())
        if not self._failed:
            self._room.set()
        elif not self._in_flight:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)

    def _settle_one(self, batch: _Batch) -> None:
        try:
            last = batch.written.result()
        except StaleExecution:
            self.drop()
        except ValueRefused as refusal:
            log.warning("Events of execution %s: %s", self.held.id, refusal)
            if not batch.is_plain:
                self._write([_plain(item) for item in batch.items], is_plain=True)
        except StorageUnavailable:
            self._failed += batch.items
        else:
            self._publish(batch, last)

    def _publish(self, batch: _Batch, last: int | None) -> None:
        if not self.live.is_read(self.held.id):
            return
        if batch.again or last is None:  # some of it may have been there; nobody read until now
            self.live.look(self.held.id)
            return
        items = batch.items
        number = last - sum(isinstance(item, Entry) for item in items)
        numbered: list[Item] = []
        for item in items:
            if isinstance(item, Entry):
                number += 1
                numbered.append(replace(item, sequence=number))
            else:
                numbered.append(item)
        self.live.publish(self.held.id, numbered)

    def _retry(self) -> None:
        if self._in_flight or not self._failed:
            return
        items, self._failed = self._failed + self._pending, []
        self._pending = []
        self._write(items, again=True)


def _plain(item: Item) -> Item:
    return plain_entry(item) if isinstance(item, Entry) else item
