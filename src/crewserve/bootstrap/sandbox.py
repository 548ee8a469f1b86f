"""What keeps flows from the server and from each other, on this machine."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from crewserve.bootstrap.ground import Ground
from crewserve.crew.confinement import Confinement, Limits, landlock_version
from crewserve.settings import Settings, secret_file

log = logging.getLogger(__name__)


def confinement_of(ground: Ground, paths: Sequence[str]) -> Confinement:
    """Of the processes of flows, which import from *paths*. Warns of what is not closed."""
    settings, data = ground.settings, ground.folder("")
    users = settings.flow_user_range if os.geteuid() == 0 else range(0)
    private: list[str] = []
    if settings.sandbox and not _holds_code(data, paths):
        others = [secret_file(), settings.retention_archive]
        private = [str(data), *(str(path.resolve()) for path in others if path)]
    _warn(has_users=bool(users), has_walls=bool(private) and landlock_version() > 0)
    if users:
        _close_to_others(data)
    return Confinement(
        private=private,
        shared=[str(ground.folder("storage"))],
        first_user=users.start if users else None,
        users=max(1, len(users)),
        limits=_limits(settings),
    )


def _holds_code(data: Path, paths: Sequence[str]) -> bool:
    code = [Path(path or ".").resolve() for path in (*paths, sys.prefix)]
    if found := [path for path in code if path.is_relative_to(data)]:
        log.warning("The data folder has code in it (%s): give it a folder of its own", found[0])
    return bool(found)


def _warn(*, has_users: bool, has_walls: bool) -> None:
    if not (has_users or has_walls):
        log.warning(
            "Nothing keeps flows from the data folder and from each other's files: "
            "this takes Landlock (Linux 5.13), or root and CREWSERVE_FLOW_USERS"
        )
    elif os.geteuid() == 0 and not has_users:
        log.warning("Flows run as root: set CREWSERVE_FLOW_USERS, or run the server as another")


def _close_to_others(data: Path) -> None:
    """Those users pass through the folder to what is theirs, and read no file in it."""
    data.chmod(0o711)
    for path in data.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)


def _limits(settings: Settings) -> Limits:
    return Limits(
        memory_bytes=_bytes(settings.flow_memory_mib),
        file_bytes=_bytes(settings.flow_file_mib),
        open_files=settings.flow_open_files,
        processes=settings.flow_processes,
    )


def _bytes(mib: int | None) -> int | None:
    return None if mib is None else mib * 2**20
