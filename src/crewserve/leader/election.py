"""Which of the processes that share a folder leads."""

import asyncio
import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path


class Election:
    """Won by whoever locks a file first, until that process ends, however it ends (flock(2)).

    The file is never deleted: a lock on a deleted file excludes nobody who comes later.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def win_at_once(self) -> bool:
        """Whether nobody else leads; then this process does."""
        assert self._file is not None, "not closed"  # noqa: S101  # for mypy
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    async def win(self) -> None:
        """Wait until whoever leads has ended.

        In a thread of its own, which nothing can interrupt: it must not keep the process alive.
        """
        loop, won = asyncio.get_running_loop(), asyncio.Event()

        def wait() -> None:
            if self._wait():
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(won.set)

        threading.Thread(target=wait, name="election", daemon=True).start()
        await won.wait()

    def _wait(self) -> bool:
        with self._lock:
            if self._file is None:
                return False
            mine = os.dup(self._file)  # so that no other file gets its number when it is closed
        try:
            fcntl.flock(mine, fcntl.LOCK_EX)
        finally:
            os.close(mine)
        return True

    def close(self) -> None:
        """Let another one win."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
