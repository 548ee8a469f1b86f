"""The template process: imports everything once, then forks a child whenever the host asks.

It has one thread, holds no database handle and never emits a CrewAI event, because a copy of a
process that did hangs for ever. It is also the watchdog of the lease: when the host does not
prolong the deadline in time, because it hangs, is frozen or lost its database, all children die,
and none is forked before there is another deadline.

Started as ``python -m crewserve.crew.template DESCRIPTOR`` with a ``SOCK_SEQPACKET`` socket.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crewserve.crew import pages, wire
from crewserve.crew.confinement import Confinement, confine, landlock_version
from crewserve.crew.processes import (
    adopt_orphans,
    children,
    die_with_parent,
    kill,
    kill_at_once,
    mark_descendants,
    outlive_parent,
    yield_to_the_api,
)
from crewserve.crew.wire import Message

BURIAL_SECONDS: Final = 1.0
"""The end of a child is reported when nothing is left of it, or after this time: a process that
is stuck in the kernel must not hold back the others' news."""


@dataclass(slots=True)
class Template:
    """Forks, watches and buries children."""

    control: socket.socket
    wake: int
    """Reading end of a pipe that gets a byte when a child ended."""
    confinement: Confinement = field(default_factory=Confinement)
    """Of the children."""
    deadline: float = float("inf")
    """``CLOCK_BOOTTIME`` (it goes on while the machine sleeps) at which all children die."""
    expired: bool = False
    """It has passed, and the host has not prolonged it."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The host's number of each living child, by pid."""
    ended: list[Message] = field(default_factory=list)
    """Ends of children that the host was not told yet."""
    report_by: float = 0.0

    def serve(self) -> None:
        """Until the host closes its end, or ends."""
        while True:
            sources: list[int] = [self.control.fileno(), self.wake]
            readable = select.select(sources, [], [], self._timeout())[0]
            if not self.expired and _boottime() >= self.deadline:
                self._kill_all()
            if self.wake in readable:
                os.read(self.wake, 4096)
            if self.wake in readable or self.ended:
                self._bury()
            if self.control.fileno() in readable and not self._obey():
                self._end()
                return

    def _timeout(self) -> float | None:
        due = self.report_by if self.ended else float("inf")
        if self.numbers and not self.expired:
            due = min(due, self.deadline)
        return None if due == float("inf") else max(0.0, due - _boottime())

    def _obey(self) -> bool:
        """Follow one request; False when there is no host any more."""
        packet, descriptors, _, _ = socket.recv_fds(self.control, wire.MAX_PACKET, 2)
        if not packet:
            return False
        request = wire.decode(packet)
        if "fork" in request:
            self._try_to_fork(request["fork"], request.get("user"), descriptors)
        elif "kill" in request:
            self._kill(request["kill"])
        elif "ping" in request:
            self.control.sendall(wire.encode({"pong": True}))
        else:
            self.deadline, self.expired = request["deadline"], False
        return True

    def _try_to_fork(self, number: int, user: int | None, descriptors: list[int]) -> None:
        try:
            if not self.expired:
                self._fork(number, user, descriptors)
                return
        except (OSError, ValueError) as error:  # no process, no memory or no descriptor is left
            sys.stderr.write(f"A process could not be forked: {error}\n")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.control.sendall(wire.encode({"exited": number, "code": 1}))

    def _fork(self, number: int, user: int | None, descriptors: list[int]) -> None:
        """They are the child's connection and, if it has one, the folder it works in."""
        (connection, *folder), parent = descriptors, os.getpid()
        pid = os.fork()
        if pid == 0:
            self._confine(user, *folder)
            self.control.close()
            os.close(self.wake)
            signal.set_wakeup_fd(-1)
            adopt_orphans()  # so what is left behind stays within the execution that it belongs to
            from crewserve.crew.child import main  # noqa: PLC0415  # loaded long before, by `load`

            main(socket.socket(fileno=connection), parent)
        self.numbers[pid] = number

    def _confine(self, user: int | None, folder: int | None = None) -> None:
        try:
            confine(self.confinement, user, folder)
        except BaseException:  # noqa: BLE001  # who cannot be confined does not run
            traceback.print_exc()
            os._exit(1)

    def _kill(self, number: int) -> None:
        for pid, known in self.numbers.items():
            if known == number:
                kill(pid)

    def _kill_all(self) -> None:
        kill_at_once(self.numbers)
        self.expired = True

    def _end(self) -> None:
        """Without a host nobody may run."""
        self._kill_all()
        until = _boottime() + BURIAL_SECONDS
        while children() and _boottime() < until:
            select.select([self.wake], [], [], 0.01)
            self._bury()

    def _bury(self) -> None:
        """Collect ended children, and kill what they left behind.

        Every child adopts its own orphans, and at its end they come to us. So whoever is our child
        without a number was left by an execution that is over. When it dies its own children come
        to us, and we are called again.
        """
        self._collect()
        strays = [pid for pid in children() if pid not in self.numbers]
        kill_at_once(reversed(strays))  # the youngest first, in case that they never stop forking
        if self.ended and (not strays or _boottime() >= self.report_by):
            self._report()

    def _collect(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid not in self.numbers:
                    continue
                if not self.ended:
                    self.report_by = _boottime() + BURIAL_SECONDS
                code = os.waitstatus_to_exitcode(status)
                self.ended.append({"exited": self.numbers.pop(pid), "code": code})

    def _report(self) -> None:
        ended, self.ended = self.ended, []
        with suppress(OSError):  # without a host, nobody listens
            for end in ended:
                self.control.sendall(wire.encode(end))


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
            premade.user_flow(load(ref))
        if internals.bus_was_used() or internals.strange_threads(internals.AFTER_IMPORT):
            return [ref]
    premade.make()
    return []


def main() -> None:
    """Load, report, serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    adopt_orphans()
    mark_descendants()
    yield_to_the_api()
    for expected in ("This process .* is multi-threaded", "lancedb fork support"):
        warnings.filterwarnings("ignore", expected)
    started = time.perf_counter()
    request: Message = wire.decode(control.recv(wire.MAX_PACKET))
    unfit = load(request["paths"], request["preload"], Path(request["notes"]))
    if unfit:
        control.sendall(wire.encode({"unfit": unfit}))
        return
    landlock_version()  # finds the C library, which starts programs: no child shall do that again
    gc.collect()
    gc.freeze()
    pages.collapse()
    template = Template(control, _wakeup_pipe(), Confinement.of(request["confinement"]))
    outlive_parent()  # from now on the end of the host shows as the end of the socket
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
