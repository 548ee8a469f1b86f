"""The template process: imports everything once, then forks a child whenever the host asks.

It has one thread, holds no database handle and never emits a CrewAI event, because a copy of a
process that did hangs for ever. It is also the watchdog of the lease: when the host does not
prolong the deadline in time, because it hangs, is frozen or lost its database, all children die.

Started as ``python -m crewserve.crew.template DESCRIPTOR`` with a ``SOCK_SEQPACKET`` socket.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from crewserve.crew import pages, wire
from crewserve.crew.processes import (
    adopt_orphans,
    children,
    die_with_parent,
    kill,
    yield_to_the_api,
)
from crewserve.crew.wire import Message


@dataclass(slots=True)
class Template:
    """Forks, watches and buries children."""

    control: socket.socket
    wake: int
    """Reading end of a pipe that gets a byte when a child ended."""
    deadline: float = float("inf")
    """``CLOCK_BOOTTIME`` (it goes on while the machine sleeps) at which all children die."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The host's number of each living child, by pid."""

    def serve(self) -> None:
        """Until the host closes its end."""
        while True:
            timeout = max(0.0, self.deadline - _boottime()) if self.numbers else None
            sources: list[int] = [self.control.fileno(), self.wake]
            readable = select.select(sources, [], [], timeout)[0]
            if _boottime() >= self.deadline:
                self._kill_all()
            if self.wake in readable:
                os.read(self.wake, 4096)
                self._bury()
            if self.control.fileno() in readable and not self._obey():
                self._kill_all()
                return

    def _obey(self) -> bool:
        """Follow one request; False when there is no host any more."""
        packet, descriptors, _, _ = socket.recv_fds(self.control, wire.MAX_PACKET, 1)
        if not packet:
            return False
        request = wire.decode(packet)
        if "fork" in request:
            self._fork(request["fork"], descriptors[0])
        elif "kill" in request:
            self._kill(request["kill"])
        else:
            self.deadline = request["deadline"]
        return True

    def _fork(self, number: int, descriptor: int) -> None:
        connection = socket.socket(fileno=descriptor)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.control.close()
            os.close(self.wake)
            signal.set_wakeup_fd(-1)
            from crewserve.crew.child import main  # noqa: PLC0415  # loaded long before, by `load`

            main(connection, parent)
        connection.close()
        self.numbers[pid] = number

    def _kill(self, number: int) -> None:
        for pid, known in self.numbers.items():
            if known == number:
                kill(pid)

    def _kill_all(self) -> None:
        for pid in self.numbers:
            kill(pid)
        self.deadline = float("inf")

    def _bury(self) -> None:
        """Collect ended children, and kill what they left behind until nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                self._report(pid, status)
                continue
            strays = [child for child in children() if child not in self.numbers]
            if not strays:
                return
            for stray in strays:
                kill(stray)
                os.waitpid(stray, 0)

    def _report(self, pid: int, status: int) -> None:
        number = self.numbers.pop(pid, None)
        if number is not None:
            code = os.waitstatus_to_exitcode(status)
            self.control.sendall(wire.encode({"exited": number, "code": code}))


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load(paths: list[str], refs: list[str], notes: Path) -> list[str]:
    """Import CrewAI, the flows, and what a first run needs.

    Returns the refs that must not be imported in a template: they made the process unfit for
    forking (an event was emitted, a thread was started), so this template must not be used.
    """
    sys.path[:0] = paths
    from crewserve.crew import child, deferred, internals, premade, rehearsal  # noqa: F401, PLC0415  # takes seconds
    from crewserve.crew.loading import FlowNotLoaded, load  # noqa: PLC0415

    deferred.install()
    rehearsal.preload(notes)
    for ref in refs:
        with suppress(FlowNotLoaded):  # the validator says why
            premade.flow(load(ref))
        if internals.bus_was_used() or internals.strange_threads(internals.AFTER_IMPORT):
            return [ref]
    premade.make()
    return []


def main() -> None:
    """Load, report, serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    adopt_orphans()
    yield_to_the_api()
    for expected in ("This process .* is multi-threaded", "lancedb fork support"):
        warnings.filterwarnings("ignore", expected)
    started = time.perf_counter()
    request: Message = wire.decode(control.recv(wire.MAX_PACKET))
    unfit = load(request["paths"], request["preload"], Path(request["notes"]))
    if unfit:
        control.sendall(wire.encode({"unfit": unfit}))
        return
    gc.collect()
    gc.freeze()
    pages.collapse()
    template = Template(control, _wakeup_pipe())
    control.sendall(wire.encode({"ready": time.perf_counter() - started}))
    template.serve()


def _wakeup_pipe() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


if __name__ == "__main__":
    main()
