"""Being another user, or root with less power."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_CAPABILITY_VERSION: Final = 0x20080522

_KEPT: Final = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
"""What containers leave root by default (capabilities(7)), without making devices. Among the rest
are reading other processes' memory, loading modules and mounting."""

_CAPABILITIES: Final = 64


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """One half of each set; the second one is for capabilities from 32 on."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(user: int, *, group: int) -> None:
    """For good, and as after a login: with no other group, and readable by that user (prctl(2))."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)


def _permitted() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))


def weaken_root() -> None:
    """Leave root what a container would; nothing that this process executes gets more.

    Raises: OSError.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    library = ctypes.CDLL(None, use_errno=True)
    for capability in set(range(_CAPABILITIES)) - _KEPT:
        library.prctl(_PR_CAPBSET_DROP, capability)  # refuses those that this kernel has not
    kept = sum(1 << capability for capability in _KEPT) & _permitted()
    sets = (_Sets * 2)(_Sets(kept, kept, 0), _Sets(0, 0, 0))
    if library.capset(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
