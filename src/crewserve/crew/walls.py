"""Landlock: the Linux kernel keeps a process and all its descendants from files and processes.

It knows only what is allowed, each time with all that is beneath. So everything is allowed that
stands beside the ways which lead to what is not.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from landlockpy import AccessFS, AccessNet, Ruleset, Scope, abi_version, fs_for_abi

version = abi_version
"""Of what this kernel has of Landlock; 0: nothing."""


def wall_off(private: Sequence[str], shared: Sequence[str]) -> None:
    """Let this process neither read nor change *private*, but for *shared*; nor signal others.

    What is made later beside a way to *private*, and so has no permission, it cannot read either.
    The names of files it may read everywhere: else no module could be imported from such a way.
    """
    if not version():
        return
    rights = fs_for_abi(version()) & ~(AccessFS.READ_DIR | AccessFS.IOCTL_DEV)
    of_files = rights & (
        AccessFS.EXECUTE | AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE
    )
    scopes = Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET
    with Ruleset(handled_fs=rights, handled_net=AccessNet.NONE, scoped=scopes) as rules:
        for path, is_folder in [*_beside(private), *((path, True) for path in shared)]:
            with suppress(OSError):  # it is gone, or this user cannot get at it anyway
                rules.allow_path(path, rights if is_folder else of_files)
        rules.restrict()


def _beside(private: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """All that is neither *private* nor on a way there, and whether it is a folder."""
    ways = {str(way) for path in private for way in Path(path).parents}
    for way in sorted(ways):
        with suppress(OSError), os.scandir(way) as entries:
            for entry in entries:
                if entry.path in ways or entry.path in private or entry.is_symlink():
                    continue  # where a link leads is decided there
                yield entry.path, entry.is_dir(follow_symlinks=False)
