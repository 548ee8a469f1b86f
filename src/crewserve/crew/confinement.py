"""What a child may do to the machine, settled while it has one thread and runs nobody's code."""

import os
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crewserve.crew.privileges import become, weaken_root
from crewserve.crew.users import Users

_SHARED_UMASK: Final = 0o007
_SHARED_MODE: Final = 0o2770


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one process. None: as the server's."""

    memory_bytes: int | None = None
    """What it may take beside what the template has taken already."""
    file_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None
    """Only where flows have users of their own, since Linux counts a user's; threads included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """Of all children of a host."""

    private: Sequence[str] = ()
    """Files and folders, by their real paths, of which nothing may be read or changed."""
    shared: Sequence[str] = ()
    """Folders within those that may be, even so."""
    first_user: int | None = None
    """Children become this user or one after it, in its group (see `Users`). Only root can."""
    users: int = 1
    limits: Limits = Limits()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Confinement":
        """As `dataclasses.asdict` tells it."""
        return cls(**{**raw, "limits": Limits(**raw["limits"])})

    def surroundings(self) -> Sequence[int]:
        """Changes when something new stands beside the walls: older children cannot read it."""
        ways = {way for path in self.private for way in Path(path).parents}
        return [_changed(way) for way in sorted(ways)] if landlock_version() else []

    def variables(self, files: Path) -> dict[str, str]:
        """What the environment of an execution that works in *files* must say."""
        common = Path(tempfile.gettempdir()).resolve()
        is_closed = any(Path(path).is_relative_to(common) for path in self.private)
        found = {"TMPDIR": str(files)} if is_closed else {}
        return found if self.first_user is None else {**found, "HOME": str(files)}

    def all_users(self) -> Users | None:
        """None where flows have none of their own."""
        return None if self.first_user is None else Users(self.first_user, self.users)

    def open_to_users(self, storage: Path) -> None:
        """What they make there belongs to their group, so that the next one can use it."""
        if self.first_user is not None:
            os.chown(storage, -1, self.first_user)
            storage.chmod(_SHARED_MODE)


def confine(confinement: Confinement, user: int | None, folder: int | None) -> None:
    """Bind this process for good; *folder* is open, its execution's own.

    It becomes *user*; None: the first one, where there are any.
    """
    _limit(confinement.limits)
    if confinement.first_user is not None:
        user = confinement.first_user if user is None else user
        _limit_to(resource.RLIMIT_NPROC, confinement.limits.processes)
        if folder is not None:
            os.fchown(folder, user, confinement.first_user)
        become(user, group=confinement.first_user)
        os.umask(_SHARED_UMASK)
    elif confinement.private:
        weaken_root()
    if confinement.private and sys.platform == "linux":
        from crewserve.crew.walls import wall_off  # noqa: PLC0415  # Linux alone has it

        own = [] if folder is None else [f"/proc/self/fd/{folder}"]
        wall_off(confinement.private, [*confinement.shared, *own])


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _limit(limits: Limits) -> None:
    _limit_to(resource.RLIMIT_CORE, 0)
    _limit_to(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit_to(resource.RLIMIT_NOFILE, limits.open_files)
    if limits.memory_bytes is not None:
        _limit_to(resource.RLIMIT_DATA, _data_bytes() + limits.memory_bytes)


def _limit_to(kind: int, most: int | None) -> None:
    if most is None:
        return
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts: memory of this process that it may write and no file backs."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def landlock_version() -> int:
    """Of what this machine has of it; 0: nothing."""
    if sys.platform != "linux":
        return 0
    from crewserve.crew.walls import version  # noqa: PLC0415

    return version()
