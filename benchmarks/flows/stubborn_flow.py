"""A flow that is blocked, in the way that it is told."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from crewai.flow.flow import Flow, start
from pydantic import BaseModel

SLEEP: Final = (sys.executable, "-c", "import time; time.sleep(3600)")
_START_ONE: Final = f"""
import subprocess, time
subprocess.Popen({SLEEP!r}, start_new_session=True, env={{}})
time.sleep(3600)
"""
OWN_SESSION: Final = (sys.executable, "-c", _START_ONE)


class Stubbornness(BaseModel):
    how: str
    begun: str
    """A file that is made when it begins."""


def _read_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.recv(1)


WAYS: Final[Mapping[str, Callable[[], object]]] = {
    "time.sleep(3600)": lambda: time.sleep(3600),
    "a socket read": _read_a_socket,
    "a loop in C": lambda: sum(range(10**12)),
    "a child process": lambda: subprocess.run(SLEEP, check=True),
    "a grandchild in a session of its own": lambda: subprocess.run(OWN_SESSION, check=True),
}


class StubbornFlow(Flow[Stubbornness]):
    """Never ends by itself."""

    @start()
    def resist(self) -> None:
        Path(self.state.begun).touch()
        WAYS[self.state.how]()
