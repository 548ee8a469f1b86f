"""A child's end of the connection to its host.

A thread reads: requests queue up for the main thread, and what concerns the execution in work (a
step was kept; stop) reaches it while the main thread is busy with user code. Another one sends what
happens in the flow, unless something else is sent before: whatever happened earlier goes with it.
"""

import os
import queue
import socket
import threading
import time
import traceback
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from crewserve.crew import wire
from crewserve.crew.outbox import Outbox
from crewserve.crew.wire import Message

READER: Final = "crewserve-reader"
TELLER: Final = "crewserve-teller"

GATHER_SECONDS: Final = 0.015
"""How long an event waits for others to go with it."""

LOOK_SECONDS: Final = 1.0
"""How often a flow that says nothing is looked at: it may have closed the connection."""


class ParentLink:
    """Answers one request after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inode = os.fstat(connection.fileno()).st_ino
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._kept: dict[int, Future[None]] = {}
        self._stop: Future[None] = Future()
        self._outbox = Outbox()
        self._news = threading.Event()
        self._over = False

    def start(self) -> None:
        threading.Thread(target=self._read, name=READER, daemon=True).start()
        threading.Thread(target=self._tell, name=TELLER, daemon=True).start()

    def next_request(self, timeout: float | None = None) -> Message | None:
        """None when the host wants nothing more. Raises: queue.Empty, after *timeout* seconds."""
        return self._requests.get(timeout=timeout)

    def send_line(self, line: bytes) -> None:
        """Raises: OSError, when the host is gone."""
        with self._sending:
            self._connection.sendall(self._outbox.take() + line)

    def begin_run(self) -> "Future[None]":
        """Resolves when the run that was asked for last shall stop."""
        return self._stop

    def record(self, step: Message) -> "Future[None]":
        """Send *step*; resolves when the host has committed it, if it is not final."""
        kept: Future[None] = Future()
        kept.set_running_or_notify_cancel()  # the step may be cancelled; that it is kept, may not
        if not step["final"]:
            self._kept[step["position"]] = kept
        self.send_line(_encode_step(step))
        return kept

    def note(self, event: Message) -> None:
        """Send *event* soon, and before whatever is sent later."""
        self._outbox.add(event)
        self._news.set()
        if self._outbox.is_full:
            self.send_line(b"")

    def exceed(self, message: str, step: str | None) -> None:
        """Send at once that the run stops because it would not keep within its budget."""
        with suppress(OSError):  # the host is gone
            self.send_line(wire.encode({"exceeded": {"message": message, "step": step}}))

    def _tell(self) -> None:
        with suppress(OSError):  # the host is gone, and this process soon will be
            while self._is_open():
                if self._news.wait(LOOK_SECONDS):
                    time.sleep(GATHER_SECONDS)
                    self._news.clear()
                    self.send_line(b"")
        if not (self._over or self._is_open()):
            os._exit(1)  # the host cannot know: what is closed while it is read, stays open

    def _is_open(self) -> bool:
        """Whether the connection is there: flows can close anything."""
        try:
            return os.fstat(self._connection.fileno()).st_ino == self._inode
        except OSError:
            return False

    def _read(self) -> None:
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    self._take(wire.decode(line))
        except OSError:
            pass  # the host is gone
        except BaseException:  # noqa: BLE001  # without a reader the execution would wait for ever
            traceback.print_exc()
            os._exit(1)
        self._over = True
        self._requests.put(None)

    def _take(self, message: Message) -> None:
        if "kept" in message:
            if kept := self._kept.pop(message["kept"], None):
                kept.set_result(None)
        elif "stop" in message:
            if not self._stop.done():
                self._stop.set_result(None)
        else:
            self._kept.clear()  # of the run before
            self._stop = Future()  # now: the request to stop may come before the run begins
            self._requests.put(message)


def _encode_step(step: Message) -> bytes:
    """*step*, or what can be said of it when it is too large to keep."""
    line = wire.encode({"step": step})
    if len(line) <= wire.MAX_MESSAGE:
        return line
    problem = f"Its result and state take {len(line):,} bytes; the limit is {wire.MAX_MESSAGE:,}"
    return wire.encode({"step": {**step, "result": None, "state": None, "problem": problem}})
