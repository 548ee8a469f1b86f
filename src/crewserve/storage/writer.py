"""Group commit: one thread writes for everybody, and one commit serves all who wait.

A commit that is durable costs a flush of the disk. Writes that arrive while one is under way are
collected and share the next, so many small writes cost about as much as one.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from crewserve.domain.errors import CrewserveError, StorageUnavailable
from crewserve.storage.telling import error_of, told

T = TypeVar("T")

log = logging.getLogger(__name__)

BATCH = 256
"""Writes in one commit at most, so that the first of them does not wait long for the last."""

CONFLICTS: Final = frozenset({"40001", "40P01", "55P03", "23505"})
"""PostgreSQL's serialization failure, deadlock, lock not available and unique violation: the write
of another process came between."""

TRIES: Final = 4
CONFLICT_SECONDS: Final = 0.02
"""What the other one gets to finish."""


@dataclass(frozen=True, slots=True)
class _Write:
    run: Callable[[Connection], Any]
    """A refusal that it returns is raised to who asked. One that it raises undoes the whole batch:
    that is for when something was written.

    Runs again when somebody else's write broke the batch, so it must only touch the
    connection."""
    future: "Future[Any]"


class Writer:
    """Owns the only connection that writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="storage-writer", daemon=True)
        self._closed = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Commit what was asked for, then end the thread."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def submit(self, run: Callable[[Connection], T | CrewserveError]) -> "Future[T]":
        """Have *run* executed in a transaction; the future resolves after its commit."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # whoever waits may be cancelled, a write may not
        if self._closed:
            future.set_exception(StorageUnavailable())
        else:
            self._queue.put(_Write(run, future))
        return future

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = self._collect(batch)
            self._commit(batch)
            if ended:
                return

    def _collect(self, batch: list[_Write]) -> bool:
        """Take what has arrived meanwhile; returns whether the end was among it."""
        while len(batch) < BATCH:
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                return False
            if write is None:
                return True
            batch.append(write)
        return False

    def _commit(self, batch: list[_Write], tries: int = TRIES) -> None:
        began = False
        try:
            with self._engine.begin() as connection:
                began = True
                results = [write.run(connection) for write in batch]
        except Exception as error:  # noqa: BLE001  # whatever it was, its owner is told
            if began and tries > 1 and _may_succeed_alone(error, len(batch)):
                for write in batch:
                    self._commit([write], tries - 1)
                return
            for write in batch:
                write.future.set_exception(_shown(error))
            return
        for write, result in zip(batch, results, strict=True):
            if isinstance(result, CrewserveError):
                write.future.set_exception(result)
            else:
                write.future.set_result(result)


def _may_succeed_alone(error: Exception, writes: int) -> bool:
    """Whether what undid a batch may leave one of its writes alone.

    Never when the connection broke: that may have been in the middle of the commit, and nobody
    knows whether it happened.
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        if getattr(error.orig, "sqlstate", None) in CONFLICTS:
            time.sleep(CONFLICT_SECONDS)
            return True
    return writes > 1


def _shown(error: Exception) -> Exception:
    if isinstance(error, CrewserveError):
        return error
    if isinstance(error, DBAPIError):
        log.error("The database refused a write: %s", told(error))
        shown = error_of(error)
        shown.__cause__ = error
        return shown
    return error
