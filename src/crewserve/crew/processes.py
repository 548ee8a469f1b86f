"""What Linux offers to make sure that no process is left behind."""

import contextlib
import ctypes
import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

OWNER: Final = "CREWSERVE_OWNER"
"""Environment variable of a template and its children: the supervisor that they belong to."""

GENERATION: Final = "CREWSERVE_GENERATION"
"""Another one: which of the templates of its supervisor it is, or comes from."""

_RLIMIT_LOCKS: Final = 10
"""Linux has not enforced this limit since 2.4, and every descendant inherits it: also one that
got an environment and a session of its own, as the stdio servers of MCP do. The hard limit tells
the owner, the soft one the generation."""

_SCANS: Final = 20
"""How often to look for strays that were born while others were killed."""

_FREEZING_SECONDS: Final = 0.05
"""Among a few hundred processes it takes 10 ms to stop all before the first one is killed."""

NICENESS: Final = 10

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_DUMPABLE: Final = 4


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when *parent* ends, however it ends (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def outlive_parent() -> None:
    """Undo `die_with_parent`, for a process that notices by itself and has to tidy up then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


def hide() -> None:
    """Let no other process of this user read the memory or the environment of this one (prctl(2)).

    Nor can a debugger attach, and it leaves no core dump. A program that it executes is not hidden.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


def yield_to_the_api() -> None:
    """Requests stay quick while flows use all cores.

    As a batch process it does not interrupt others when it wakes up: in a burst of 1,000 short
    executions on two cores that raised submissions from 400 to 600 a second, and executions from
    30 to 44.
    """
    os.nice(NICENESS)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ended, so that none escapes.

    Of several ancestors that asked for this the nearest one gets it. A fork does not inherit it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int | None = None) -> list[int]:
    """Direct children of all threads of *pid* (default: this process), adopted orphans included.

    Those that ended and were not waited for are among them.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
            with contextlib.suppress(OSError):  # this thread has just ended
                found.extend(map(int, (task / "children").read_bytes().split()))
    return found


def resident_bytes(pid: int) -> int:
    """What of *pid* is in memory, shared pages included; 0 when nobody tells."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def has_children() -> bool:
    """Whether this process has any, adopted or ended ones included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill(root: int) -> None:
    """Kill *root* and all its descendants, in whatever session they are.

    Processes that never stop forking may outrun this. As *root* adopts orphans and dies, they come
    to the next ancestor that adopts: it must go on with `kill_at_once` until it has no more.
    """
    frozen = [root]
    _send(signal.SIGSTOP, root)
    until = time.monotonic() + _FREEZING_SECONDS
    while found := _freeze_children(frozen, until):
        frozen += found
    kill_at_once(frozen)


def _freeze_children(frozen: list[int], until: float) -> list[int]:
    """Stop who is not stopped: a stopped process neither forks nor waits, so none is missed."""
    known, found = set(frozen), list[int]()
    for pid in frozen:
        if time.monotonic() > until:
            return []
        for child in reversed(children(pid)):  # the youngest first, before it is gone
            if child not in known:
                _send(signal.SIGSTOP, child)
                found.append(child)
    return found


def kill_at_once(pids: Iterable[int]) -> None:
    """Kill these, which come parents first, so that none starts a child anew."""
    for pid in pids:
        _send(signal.SIGKILL, pid)


def _send(number: signal.Signals, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def mark_descendants() -> None:
    """Let `kill_strays` find every later descendant by the owner of this process."""
    own = dict(entry.partition(b"=")[::2] for entry in _environment(os.getpid()))
    owner, generation = own.get(OWNER.encode()), int(own.get(GENERATION.encode(), b"1"))
    if owner and sys.platform == "linux":
        resource.setrlimit(_RLIMIT_LOCKS, (generation, _mark(owner.decode())))


def kill_strays(owner: str, generation: int | None = None) -> None:
    """Kill every process that belongs to *owner*: all that descends from one is marked as well.

    With *generation*, only what that template started, and it. This looks at all processes of the
    machine, about 0.1 ms for each.
    """
    for _ in range(_SCANS):
        found = False
        for pid in _processes():
            if _belongs(pid, owner, generation):
                _send(signal.SIGKILL, pid)
                found = True
        if not found:
            return


def _processes() -> list[int]:
    """The youngest first: those that never stop forking are caught before they are gone."""
    return sorted((int(folder.name) for folder in Path("/proc").glob("[0-9]*")), reverse=True)


def _belongs(pid: int, owner: str, generation: int | None = None) -> bool:
    """False for one that has ended, even if nobody waited for it."""
    with contextlib.suppress(OSError):
        is_marked = _has_limits(pid, owner, generation) or _has_names(pid, owner, generation)
        return is_marked and not _has_ended(pid)
    return False


def _has_limits(pid: int, owner: str, generation: int | None) -> bool:
    """Everybody may read them there; prlimit(2) refuses them to root in a container."""
    if sys.platform != "linux":
        return False
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line.split()[3:5] for line in lines if line.startswith("Max file locks"))
    return hard == str(_mark(owner)) and generation in (None, int(soft))


def _has_names(pid: int, owner: str, generation: int | None) -> bool:
    wanted = {f"{OWNER}={owner}".encode()}
    if generation is not None:
        wanted.add(f"{GENERATION}={generation}".encode())
    return wanted <= set(_environment(pid))


def _has_ended(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    return state in {b"Z", b"X"}


def _environment(pid: int) -> list[bytes]:
    """As *pid* was started with it, or inherited it by a fork."""
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _mark(owner: str) -> int:
    """A limit: it must be below 2**63."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:7])
