"""The template process without CrewAI, whose children do nothing but what a test tells them.

Run as a program it is such a template; `Forks` is a test's end of it.
"""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from crewserve.crew import processes, template, wire

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(slots=True, eq=False)
class Forks:
    """A running template."""

    process: "subprocess.Popen[bytes]"
    control: socket.socket
    ended: dict[int, int] = field(default_factory=dict)
    """Exit codes by number."""
    _number: int = 0

    @classmethod
    def start(cls, owner: str, generation: int = 1) -> "Forks":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(command(theirs), **options(theirs, owner, generation))
        ours.settimeout(20)
        assert "ready" in wire.decode(ours.recv(wire.MAX_PACKET))
        return cls(process, ours)

    def fork(self, code: str) -> tuple[int, int]:
        """The number and pid of a child that runs this Python code, when it said that it does.

        Raises: ConnectionError, when the template makes none.
        """
        self._number += 1
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                request = wire.encode({"fork": self._number})
                socket.send_fds(self.control, [request], [theirs.fileno()])
            ours.sendall(json.dumps(code).encode() + b"\n")
            ours.settimeout(20)
            return self._number, int(ours.recv(100))

    def kill(self, number: int) -> None:
        self.control.sendall(wire.encode({"kill": number}))

    def live_until(self, boottime: float) -> None:
        self.control.sendall(wire.encode({"deadline": boottime}))

    def wait_for_end(self, number: int) -> int:
        """Its exit code."""
        while number not in self.ended:
            packet = wire.decode(self.control.recv(wire.MAX_PACKET))
            self.ended[packet["exited"]] = packet["code"]
        return self.ended[number]

    def close(self) -> None:
        """As the end of a host does."""
        self.control.close()
        self.process.wait(10)


def command(control: socket.socket) -> list[str]:
    """How to start such a template."""
    return [sys.executable, "-m", "tests.support.forking", str(control.fileno())]


def options(control: socket.socket, owner: str, generation: int = 1) -> dict[str, Any]:
    """With which options of `subprocess`."""
    marks = {processes.OWNER: owner, processes.GENERATION: str(generation)}
    paths = os.pathsep.join((str(REPOSITORY / "src"), str(REPOSITORY)))
    return {
        "env": {**os.environ, "PYTHONPATH": paths, **marks},
        "pass_fds": [control.fileno()],
        "start_new_session": True,
    }


def _main(connection: socket.socket, parent: int) -> NoReturn:
    """Stands in for ``crewserve.crew.child.main``."""
    processes.die_with_parent(parent)
    os.setsid()
    with connection.makefile("r") as lines:
        code = json.loads(lines.readline())
    spoken = _Spoken(connection)
    try:
        exec(code, {"ready": spoken.ready, "time": time})
    finally:
        os._exit(0)


@dataclass(slots=True)
class _Spoken:
    connection: socket.socket

    def ready(self) -> None:
        """To be called by the code when it is where the test wants it."""
        self.connection.sendall(str(os.getpid()).encode())


def _serve() -> None:
    child: Any = ModuleType("crewserve.crew.child")
    child.main = _main
    sys.modules[child.__name__] = child
    control = socket.socket(fileno=int(sys.argv[1]))
    processes.adopt_orphans()
    processes.mark_descendants()
    serving = template.Template(control, template._wakeup_pipe())
    control.sendall(wire.encode({"ready": 0}))
    serving.serve()


if __name__ == "__main__":
    _serve()
