"""The follower's end: whatever it asks is answered by this leader or by the next one."""

import asyncio
import json
import logging
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from crewserve.domain.errors import CrewserveError, StorageUnavailable, ValueRefused
from crewserve.leader.calls import Call, Descriptions, calls, shape
from crewserve.leader.errors import load_error
from crewserve.leader.wire import connect, frame, hang_up, read_message, to_json
from crewserve.ports import Described

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.02
"""Until a leader that is not there is looked for again."""

STRANGER_SECONDS: Final = 1.0
"""Until a leader that cannot be understood is asked again."""

LEADERLESS_SECONDS: Final = 5.0
"""What a call waits for a leader."""

ANSWER_SECONDS: Final = 30.0
"""What a call waits altogether: a leader that is there may be frozen."""


class Perform(Protocol):
    """Does what was asked of a leader."""

    def __call__(
        self, name: str, arguments: Mapping[str, Any], *, again: bool
    ) -> Awaitable[Any]: ...


@dataclass(slots=True, eq=False)
class _Asked:
    name: str
    arguments: bytes
    future: "Future[Any]"
    is_sent: bool = False
    """A leader may have done it."""

    @property
    def call(self) -> Call:
        return calls()[self.name]


class Link:
    """Has a thread of its own, so that whoever blocks on an answer does not keep it from coming."""

    def __init__(self, path: Path, on_described: Described) -> None:
        """*on_described* is called in that thread."""
        self._path = path
        self._on_described = on_described
        self._loop = asyncio.new_event_loop()
        self._keeper = self._loop.create_task(self._keep())
        self._thread = threading.Thread(target=self._run, name="leader-link", daemon=True)
        self._lock = threading.Lock()
        self._closed = False
        self._numbers = count(1)
        self._waiting: dict[int, _Asked] = {}
        self._leader: StreamWriter | None = None
        self._perform: Perform | None = None
        self._performing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Whatever is not answered by then is given up."""
        with self._lock:
            self._closed = True
            self._loop.call_soon_threadsafe(self._keeper.cancel)
        self._thread.join()

    def ask(self, name: str, arguments: bytes) -> "Future[Any]":
        """One of `calls`. The future raises what the leader raises, or StorageUnavailable."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # whoever waits may be cancelled, a write may not
        with self._lock:
            if self._closed:
                future.set_exception(StorageUnavailable())
            else:
                self._loop.call_soon_threadsafe(self._ask, _Asked(name, arguments, future))
        return future

    def lead(self, perform: Perform) -> None:
        """This process leads now: have *perform* do what is not answered, in this thread."""
        self._loop.call_soon_threadsafe(self._lead, perform)

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._keeper)
        finally:
            for asked in self._waiting.values():
                asked.future.set_exception(StorageUnavailable())
            self._loop.close()

    async def _keep(self) -> None:
        while True:
            if self._perform is None:
                await self._follow_or_wait()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow_or_wait(self) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._follow()
        except (CrewserveError, KeyError, ValueError):
            log.exception("The process that leads is of another version")
            await asyncio.sleep(STRANGER_SECONDS)

    async def _follow(self) -> None:
        """Until the leader ends."""
        reader, writer = await asyncio.open_unix_connection(sock=connect(self._path))
        try:
            for number, asked in self._waiting.items():
                _send(writer, number, asked)
            self._leader = writer
            await self._hear(reader)
        finally:
            self._leader = None
            await hang_up(writer)

    async def _hear(self, reader: StreamReader) -> None:
        while True:
            message = await read_message(reader)
            if "described" in message:
                self._on_described(shape(Descriptions).load(message["described"]))
            elif asked := self._waiting.pop(message["number"], None):
                _answer(asked, message)

    def _ask(self, asked: _Asked) -> None:
        number = next(self._numbers)
        self._waiting[number] = asked
        if self._perform is not None:
            self._do_here(number, self._perform)
            return
        if self._leader is not None:
            _send(self._leader, number, asked)
        self._loop.call_later(LEADERLESS_SECONDS, self._give_up_leaderless, number)

    def _give_up_leaderless(self, number: int) -> None:
        if self._leader is None and self._perform is None:
            self._give_up(number)
        else:
            rest = ANSWER_SECONDS - LEADERLESS_SECONDS
            self._loop.call_later(rest, self._give_up, number)

    def _give_up(self, number: int) -> None:
        if asked := self._waiting.pop(number, None):
            log.error("The process that leads does not answer")
            asked.future.set_exception(StorageUnavailable())

    def _lead(self, perform: Perform) -> None:
        self._perform = perform
        if self._leader is not None:
            self._leader.close()
        for number in list(self._waiting):
            self._do_here(number, perform)

    def _do_here(self, number: int, perform: Perform) -> None:
        task = self._loop.create_task(self._answer_here(number, perform))
        self._performing.add(task)
        task.add_done_callback(self._performing.discard)

    async def _answer_here(self, number: int, perform: Perform) -> None:
        asked = self._waiting[number]
        try:
            arguments = asked.call.load(json.loads(asked.arguments))
            result = await perform(asked.name, arguments, again=asked.is_sent)
        except Exception as error:  # noqa: BLE001  # whatever it is, who asked is told
            if self._waiting.pop(number, None):
                asked.future.set_exception(error)
        else:
            if self._waiting.pop(number, None):
                asked.future.set_result(result)


def _send(leader: StreamWriter, number: int, asked: _Asked) -> None:
    head = to_json([number, asked.name, asked.is_sent])
    leader.write(frame(b"[%b,%b]" % (head, asked.arguments)))
    asked.is_sent = True


def _answer(asked: _Asked, message: Mapping[str, Any]) -> None:
    if "error" in message:
        asked.future.set_exception(load_error(message["error"]))
        return
    try:
        result = asked.call.result.load(message["result"])
    except ValueRefused as error:
        asked.future.set_exception(error)
    else:
        asked.future.set_result(result)
