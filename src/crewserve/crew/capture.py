"""Lines that a flow prints and logs, whichever way, as the host is told of them.

What Python prints is taken where it is written, so that each line has its step. What else reaches
the descriptors, from native code and other processes, comes through pipes.
"""

import contextlib
import io
import logging
import os
import select
import sys
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from traceback import format_exception
from typing import Any, Final

from crewserve.crew.events import ENDS_OF_STEPS, Note, current_step, only_step
from crewserve.domain.output import MAX_LINE, MAX_LINES, Level, Stream

READER: Final = "crewserve-output"
BLOCK: Final = 65_536
MAX_CHARACTERS: Final = 4_000_000
"""Of all lines of one run."""

CUT: Final = "… [cut]"
_LEVELS: Final = {
    logging.CRITICAL: Level.CRITICAL,
    logging.ERROR: Level.ERROR,
    logging.WARNING: Level.WARNING,
    logging.INFO: Level.INFO,
}


class Lines:
    """Tells the host of each line, until there were too many. For any thread."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._told = 0
        self._characters = 0
        self._cut = 0

    @property
    def is_full(self) -> bool:
        return self._told >= MAX_LINES or self._characters >= MAX_CHARACTERS

    def skip(self, count: int) -> None:
        """So many lines came when it was full."""
        if not self._cut and count:
            self._say(f"{CUT}: what follows is not kept")
        self._cut += count

    def tell(self, stream: Stream, text: str, *, step: str | None, **more: str | None) -> None:
        """One line, or one record."""
        if self.is_full:
            self.skip(1)
            return
        kept = text if len(text) <= MAX_LINE else text[:MAX_LINE] + CUT
        self._told += 1
        self._characters += len(kept)
        self._tell(stream, kept.replace("\0", "\N{REPLACEMENT CHARACTER}"), step=step, **more)

    def end(self) -> None:
        """Say how much is missing."""
        if self._cut:
            self._say(f"{CUT}: {self._cut:,} lines")

    def _say(self, text: str) -> None:
        self._tell(Stream.LOG, text, step=None, level=Level.WARNING, logger="crewserve")

    def _tell(self, stream: Stream, text: str, **more: str | None) -> None:
        self._note({"stream": stream, "line": text, "at": time.time(), **more})


class Splitter:
    """Makes lines of whatever pieces come. One that never ends is cut, and takes no memory."""

    def __init__(
        self, lines: Lines, stream: Stream, step: Callable[[], str | None] = only_step
    ) -> None:
        self._lines = lines
        self._stream = stream
        self._step = step
        self._open = ""
        self._lock = threading.Lock()
        self._decoder = getincrementaldecoder("utf-8")("backslashreplace")

    def feed_bytes(self, data: bytes) -> None:
        """A character may come in two pieces."""
        self.feed(self._decoder.decode(data))

    def feed(self, text: str) -> None:
        with self._lock:
            *whole, rest = text.split("\n") if "\n" in text else (text,)
            if whole and self._lines.is_full:
                self._lines.skip(len(whole))
                self._open = rest[: MAX_LINE + 1]
                return
            for line in whole:
                self._tell(self._open + line)
                self._open = ""
            if len(self._open) <= MAX_LINE:
                self._open += rest[: MAX_LINE + 1]

    def end(self) -> None:
        """What is left without an end is a line as well."""
        with self._lock:
            if self._open:
                self._tell(self._open)
            self._open = ""

    def _tell(self, line: str) -> None:
        """Of what overwrites itself, as progress bars do, the last state counts."""
        text = line.rstrip("\r").rpartition("\r")[2]
        self._lines.tell(self._stream, text, step=self._step())


class _Written(io.RawIOBase):
    """Bytes for whoever writes to ``sys.stdout.buffer``."""

    def __init__(self, take: Callable[[bytes], None], descriptor: int) -> None:
        self._take = take
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any, /) -> int:
        found = bytes(data)
        self._take(found)
        return len(found)


class TextOutput(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, printed: Splitter, pipes: "_Pipes", descriptor: int) -> None:
        self._printed = printed
        self._pipes = pipes
        self._descriptor = descriptor
        self._process = os.getpid()
        self.buffer = _Written(self._take, descriptor)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str, /) -> int:
        if os.getpid() != self._process:
            self._take(text.encode(errors="backslashreplace"))
        else:
            self._pipes.drain()
            self._printed.feed(text)
        return len(text)

    def _take(self, data: bytes) -> None:
        """A process that the flow has forked cannot tell, but its parent reads the pipe."""
        if os.getpid() != self._process:
            os.write(self._descriptor, data)
        else:
            self._pipes.drain()
            self._printed.feed_bytes(data)


class Records(logging.Handler):
    """Tells of what is logged."""

    def __init__(self, lines: Lines, pipes: "_Pipes") -> None:
        super().__init__()
        self._lines = lines
        self._pipes = pipes
        self._process = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """A record that cannot be shown is its author's mistake, and does not stop the flow."""
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001  # formatting calls users' code
            text = f"{record.msg!r} ({type(error).__name__}: {error})"
        if record.exc_info and record.exc_info[0]:
            text = f"{text}\n{''.join(format_exception(*record.exc_info))}".rstrip()
        if os.getpid() != self._process:
            os.write(2, f"{record.levelname} {record.name}: {text}\n".encode(errors="replace"))
            return
        self._pipes.drain()
        level = _level(record.levelno)
        step = current_step()
        self._lines.tell(Stream.LOG, text, step=step, level=level, logger=record.name)


def _level(number: int) -> Level:
    return next((name for least, name in _LEVELS.items() if number >= least), Level.DEBUG)


class _Pipes:
    """Reads what reaches the descriptors 1 and 2."""

    def __init__(self, splitters: Mapping[int, Splitter], lines: Lines) -> None:
        """By the descriptor."""
        self._lines = lines
        self._saved = {stream: os.dup(stream) for stream in splitters}
        self._splitters: dict[int, Splitter] = {}
        for stream, splitter in splitters.items():
            reading, writing = os.pipe()
            os.set_blocking(reading, False)
            os.dup2(writing, stream)
            os.close(writing)
            self._splitters[reading] = splitter
        self._over, self._end = os.pipe()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._read, name=READER, daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """What was written until now comes before what is told next."""
        if self._lines.is_full:
            return  # then the order does not matter
        self._drain()

    def close(self) -> None:
        """Strays may still hold the other ends."""
        for stream, copy in self._saved.items():
            os.dup2(copy, stream)
            os.close(copy)
        os.close(self._end)
        self._thread.join()
        self._drain()
        for descriptor in (*self._splitters, self._over):
            os.close(descriptor)

    def _read(self) -> None:
        poll = select.poll()
        for descriptor in (*self._splitters, self._over):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, what in poll.poll():
                if descriptor == self._over:
                    return
                if what == select.POLLHUP:  # the flow has closed it, and nothing is left
                    poll.unregister(descriptor)
            self._drain()

    def _drain(self) -> None:
        with self._reading:
            for descriptor, splitter in self._splitters.items():
                with contextlib.suppress(BlockingIOError):
                    while data := os.read(descriptor, BLOCK):
                        splitter.feed_bytes(data)


@contextlib.contextmanager
def captured(note: Note) -> Iterator[None]:
    """Have *note* called with whatever this process and its children print and log."""
    lines = Lines(note)
    streams = (Stream.STDOUT, Stream.STDERR)
    printed, others = (
        {number: Splitter(lines, stream, step) for number, stream in enumerate(streams, 1)}
        for step in (current_step, only_step)
    )
    before, pipes = (sys.stdout, sys.stderr), _Pipes(others, lines)
    sys.stdout, sys.stderr = (
        TextOutput(splitter, pipes, descriptor) for descriptor, splitter in printed.items()
    )
    ENDS_OF_STEPS.append(pipes.drain)
    with _logging_to(Records(lines, pipes)):
        yield
    ENDS_OF_STEPS.remove(pipes.drain)
    sys.stdout, sys.stderr = before
    for text in before:
        with contextlib.suppress(OSError, ValueError):
            text.flush()
    pipes.close()
    for splitter in (*printed.values(), *others.values()):
        splitter.end()
    lines.end()


@contextlib.contextmanager
def _logging_to(records: Records) -> Iterator[None]:
    """In place of handlers that would print the same once more."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    for handler in handlers:
        if type(handler) is logging.StreamHandler and handler.stream in _STANDARD:
            root.removeHandler(handler)
    root.addHandler(records)
    if level == logging.WARNING:  # what Python begins with
        root.setLevel(logging.INFO)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


_STANDARD: Final = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
