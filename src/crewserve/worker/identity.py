"""Who this process is, and whether another one still runs."""

import os
import secrets
import socket
from pathlib import Path

from crewserve.domain.ids import WorkerName


def new_name() -> WorkerName:
    """`host:pid:start:random`: the start time tells a process from a later one with its pid."""
    pid = os.getpid()
    return WorkerName(f"{socket.gethostname()}:{pid}:{_started(pid)}:{secrets.token_hex(4)}")


def is_gone(name: WorkerName) -> bool:
    """Whether *name* was a process of this machine and certainly runs no more."""
    host, pid, started, _ = name.rsplit(":", 3)
    found = _started(int(pid))
    return host == socket.gethostname() and "" not in (started, found) and found != started


def _started(pid: int) -> str:
    """Ticks from boot to the start of *pid*, with the boot's id.

    ``none`` when there is no such process, empty when nobody tells.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "none"
    except OSError:
        return ""
    return "none" if fields[0] in "ZX" else f"{fields[19]}@{boot}"
