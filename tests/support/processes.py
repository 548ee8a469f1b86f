"""Finding the processes that a test started, by a mark that all of them inherit."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

MARK: Final = "ACCEPTANCE_TEST_SERVER"
"""Environment variable; its value is unlike for every server that a test starts."""


def marked(value: str) -> set[int]:
    """The living processes that were started with this mark, or by one that was."""
    wanted = f"{MARK}={value}".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


def parent_of(pid: int) -> int | None:
    """None when *pid* does not live."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def is_alive(pid: int) -> bool:
    """Whether *pid* runs; a process that only waits to be collected does not."""
    return parent_of(pid) is not None


def command_of(pid: int) -> str:
    """Empty when *pid* does not live."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill_marked(value: str) -> None:
    """End whatever still carries the mark."""
    for pid in marked(value):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def folder_of(pid: int) -> Path | None:
    """Its working directory; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
