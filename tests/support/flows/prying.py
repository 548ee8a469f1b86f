"""A flow that tries to get at what is not its own, and tells how far it came."""

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crewai.flow import Flow, start
from pydantic import BaseModel


class Wishes(BaseModel):
    read: list[str] = []
    write: list[str] = []
    connect: list[str] = []
    """To unix sockets, to hear what is said there."""
    stop: list[int] = []
    """Processes."""
    keep: str = ""
    """A text for a file of its own."""
    plant: str = ""
    """Where a link in its folder leads when its first attempt dies."""


class Prying(Flow[Wishes]):
    @start()
    def pry(self) -> dict[str, Any]:
        if self.state.keep:
            Path("kept.txt").write_text(self.state.keep)
        wishes = self.state
        if wishes.plant and os.environ["CREWSERVE_ATTEMPT"] == "1":
            Path("../evil").symlink_to(wishes.plant)
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "read": _outcomes(_read, wishes.read),
            "shell": _outcomes(_read_by_another_program, wishes.read),
            "write": _outcomes(_write, wishes.write),
            "connect": _outcomes(_hear, wishes.connect),
            "stop": _outcomes(_find, wishes.stop),
            "folder": str(Path.cwd()),
            "user": os.getuid(),
        }


def _outcomes(attempt: Callable[[Any], object], targets: Sequence[Any]) -> dict[str, str]:
    return {str(target): _outcome(partial(attempt, target)) for target in targets}


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


def _read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def _read_by_another_program(path: str) -> None:
    run = subprocess.run(["/bin/cat", path], capture_output=True, check=False)
    if run.returncode != 0:
        raise PermissionError(errno.EACCES, "it was refused")


def _write(path: str) -> None:
    Path(path).write_text("mine")


def _find(pid: int) -> None:
    os.kill(pid, 0)


def _hear(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(bytes(32))
        if connection.recv(1) == b"":
            raise PermissionError(errno.EACCES, "it was turned away")
