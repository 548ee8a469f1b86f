"""The folders of children, before and after they have the folder of an execution.

Which folder a child may use is settled when it is forked (`walls`), and which execution it gets is
not known then. So each has a folder from the beginning, a cell, which becomes the execution's: it
is renamed, and what a child may do in it goes with it.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES: Final = "files"
"""In an execution's folder: the flow's working directory."""

_PREFIX: Final = ".cell-"
_PASSABLE: Final = 0o711
"""Nobody else lists the executions of this host, and who is allowed gets at their own."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Beside the folders of executions."""

    executions: Path

    def make(self) -> tuple[Path, int]:
        """An empty one, open and locked for whoever has the descriptor."""
        self.executions.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
        cell = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.executions))
        descriptor = os.open(cell, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return cell, descriptor

    def assign(self, cell: Path, folder: Path) -> None:
        """Make *cell* the *folder* of an execution, with what an earlier attempt left there."""
        _move_entries(folder, cell)
        cell.rename(folder)

    def take_back(self, folder: Path) -> Path:
        """Leave what is in *folder* where it is, and make the empty folder a cell again."""
        cell = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.executions))
        folder.rename(cell)
        if any(cell.iterdir()):
            folder.mkdir(mode=0o700)
            _move_entries(cell, folder)
        return cell

    def tidy(self) -> None:
        """Remove those whose child has ended without its host."""
        with suppress(OSError):
            for cell in self.executions.glob(_PREFIX + "*"):
                _remove_if_free(cell)


def remove(cell: Path) -> None:
    """Its child has ended. Whatever is in it, nobody else has heard of."""
    shutil.rmtree(cell, ignore_errors=True)


def _move_entries(source: Path, target: Path) -> None:
    owner = target.stat()
    with suppress(FileNotFoundError):
        for entry in list(source.iterdir()):
            _give(entry, owner)
            entry.rename(target / entry.name)


def _give(tree: Path, owner: os.stat_result) -> None:
    """To the user of *owner*, as root can: each attempt may have another one.

    Not what has several names, since one of them may be another's.
    """
    if os.geteuid() != 0:
        return
    for path in (tree, *tree.rglob("*")):
        found = path.lstat()
        if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _remove_if_free(cell: Path) -> None:
    descriptor = os.open(cell, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(cell)
    except BlockingIOError:
        pass  # its child lives
    finally:
        os.close(descriptor)
