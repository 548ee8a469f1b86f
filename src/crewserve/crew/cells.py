"""The folders of children, before and after they have the folder of an execution.

Which folder a child may use is settled when it is forked (`walls`), and which execution it gets is
not known then. So each has a folder from the beginning, a cell, which becomes the execution's: it
is renamed, and what a child may do in it goes with it.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

from crewserve.crew.waiting import to_its_end

log = logging.getLogger(__name__)

FILES: Final = "files"
"""In an execution's folder: the flow's working directory."""

_PREFIX: Final = f".cell-{socket.gethostname()}-"
"""With the host's name, since other hosts' locks may not be known here."""
_PASSABLE: Final = 0o711
"""Nobody else lists the executions of this host, and who is allowed gets at their own."""
_CLOSED: Final = 0o700

DEEPEST: Final = 64
"""What lies deeper in a folder stays its former user's: each level takes a file descriptor."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Beside the folders of executions."""

    executions: Path

    def make(self) -> tuple[Path, int]:
        """An empty one, open and locked for whoever has the descriptor."""
        self.executions.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
        while True:
            cell = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.executions))
            with suppress(FileNotFoundError):
                descriptor = _open(cell)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if _is_still(cell, descriptor):  # nobody has tidied up before it was locked
                    return cell, descriptor
                os.close(descriptor)

    async def assign(self, cell: Path, folder: Path) -> None:
        """Make *cell* the *folder* of an execution, with what an earlier attempt left there.

        Nothing of that attempt runs any more.
        """
        if _has_entries(folder):
            await to_its_end(asyncio.to_thread(_hand_over, folder, cell))
        _rename(cell, folder)

    async def take_back(self, folder: Path) -> Path:
        """Leave what is in *folder* where it is, and make the empty folder a cell again."""
        cell = self._exchange(folder)
        if _has_entries(cell):
            await to_its_end(asyncio.to_thread(_move_entries, cell, folder))
        return cell

    def _exchange(self, folder: Path) -> Path:
        """Make it a cell, and a new one in its place."""
        cell = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.executions))
        folder.rename(cell)
        folder.mkdir(mode=_CLOSED)
        if os.geteuid() == 0:
            os.chown(folder, 0, cell.stat().st_uid)  # see `close`
        return cell

    @staticmethod
    def close(folder: Path) -> None:
        """Its execution is over: let nobody get at it who becomes its user later.

        Its group tells from now on whose it was. One without anything in it is removed.
        """
        with suppress(OSError):  # it is not empty: something was written
            folder.rmdir()
        try:
            if os.geteuid() == 0 and (user := folder.stat().st_uid) != 0:
                os.chown(folder, 0, user)
                folder.chmod(_CLOSED)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.error("The folder %s could not be closed: %s", folder, error)

    def tidy(self) -> None:
        """Remove cells and close folders whose child has ended without its host."""
        with suppress(FileNotFoundError):
            for path in list(self.executions.iterdir()):
                with suppress(OSError):
                    self._tidy(path)

    def _tidy(self, path: Path) -> None:
        found = path.lstat()
        if path.name.startswith(_PREFIX):
            _if_free(path, remove)
        elif os.geteuid() == 0 and stat.S_ISDIR(found.st_mode):
            if stat.S_IMODE(found.st_mode) != _CLOSED:
                path.chmod(_CLOSED)  # from before flows had users of their own
            if found.st_uid != 0:
                _if_free(path, self.close)


def remove(cell: Path) -> None:
    """Its child has ended. Whatever is in it, nobody else has heard of.

    Hardly ever is anything. Removing that may take long.
    """
    try:
        cell.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        Thread(target=_remove_tree, args=[cell], name="cell-removal", daemon=True).start()


def _remove_tree(cell: Path) -> None:
    try:
        shutil.rmtree(cell, ignore_errors=True)
    except RecursionError:
        log.error("The folder %s is too deep to be removed", cell)


def _has_entries(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return any(folder.iterdir())
    return False


def _rename(cell: Path, folder: Path) -> None:
    cell.rename(folder)


def _hand_over(source: Path, target: Path) -> None:
    _move_entries(source, target)
    if os.geteuid() == 0:
        before, after = source.stat(), target.stat()
        _give_all(target, before.st_uid or before.st_gid, after)


def _move_entries(source: Path, target: Path) -> None:
    for entry in list(source.iterdir()):
        with suppress(FileNotFoundError):
            entry.rename(target / entry.name)


def _give_all(tree: Path, user: int, owner: os.stat_result) -> None:
    """What *user* had there, to the user of *owner*: each attempt may have another one."""
    for path, folders, files, inside in os.fwalk(tree, follow_symlinks=False):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                _give(name, inside, user, owner)
        if path.count("/") - str(tree).count("/") == DEEPEST:
            folders.clear()


def _give(name: str, folder: int, user: int, owner: os.stat_result) -> None:
    """Only what *user* made, and has no other name: the flow may have linked to others' files.

    What is looked at is what is given, whatever has got its name since.
    """
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(opened)
        if found.st_uid == user and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
            os.chown(f"/proc/self/fd/{opened}", owner.st_uid, owner.st_gid)
    finally:
        os.close(opened)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_still(folder: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    return False


def _if_free(folder: Path, end: Callable[[Path], None]) -> None:
    """*end* it, unless its child lives."""
    descriptor = _open(folder)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(folder, descriptor):
                end(folder)
    finally:
        os.close(descriptor)
