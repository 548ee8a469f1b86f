"""Flows that misbehave, and flows that tell what surrounds them."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from crewai.flow import Flow, listen, start
from pydantic import BaseModel


class Raising(Flow[dict[str, object]]):
    @start()
    def prepare(self) -> str:
        return "ready"

    @listen(prepare)
    def divide(self) -> float:
        raise ValueError("the cake cannot be divided by nobody")


class RaisingOddly(Flow[dict[str, object]]):
    @start()
    def open(self) -> None:
        raise FileNotFoundError(os.fsdecode(b"caf\xe9.txt"))


class Huge(Flow[dict[str, object]]):
    """Its result is JSON, but no parser with a limit reads it."""

    @start()
    def count(self) -> int:
        return 10**4999


class Foreign(Flow[dict[str, object]]):
    """What it keeps and says needs more than Latin-1."""

    @start()
    def keep(self) -> str:
        self.state["\N{SHORTCAKE}"] = object()
        return "kept"

    @listen(keep)
    def divide(self) -> float:
        raise ValueError("no \N{SHORTCAKE} is left")


class ClosingAll(Flow[dict[str, object]]):
    """Closes every descriptor but the standard streams, as daemons do."""

    @start()
    def close(self) -> None:
        time.sleep(0.1)  # what it has said until now was sent: nothing else is on its way
        os.closerange(3, 1024)


class SelfKilling(Flow[dict[str, object]]):
    @start()
    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Waiting(BaseModel):
    gate: str
    """It goes on when there is a file of this name."""


class Gated(Flow[Waiting]):
    @start()
    def wait(self) -> str:
        while not Path(self.state.gate).exists():
            time.sleep(0.02)
        return "through"


class Nap(BaseModel):
    seconds: float = 600


class Sleeping(Flow[Nap]):
    @start()
    def sleep(self) -> str:
        time.sleep(self.state.seconds)
        return "awake"


class LeavingBehind(Flow[dict[str, object]]):
    """Starts a process in a session of its own and does not wait for it."""

    @start()
    def leave(self) -> int:
        return subprocess.Popen(["sleep", "600"], start_new_session=True).pid


class Straying(Flow[dict[str, object]]):
    """Starts such a process and goes on."""

    @start()
    def stray(self) -> None:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)


class Talkative(Flow[dict[str, object]]):
    @start()
    def talk(self) -> str:
        print("a word on stdout")  # noqa: T201 - this is what the test is about
        os.write(2, b"a word on stderr\n")
        subprocess.run(["echo", "a word of a child"], check=True)
        return "said"


class Surroundings(Flow[dict[str, object]]):
    """Writes where it is, and tells what it saw there and which numbers it drew."""

    @start()
    def look(self) -> dict[str, object]:
        found = sorted(path.name for path in Path.cwd().iterdir())
        Path("here.txt").write_text("mine")
        inherited = os.environ.get("LEFT_BY_ANOTHER", "")
        os.environ["LEFT_BY_ANOTHER"] = "yes"
        return {
            "cwd": str(Path.cwd()),
            "found": found,
            "inherited": inherited,
            "execution": os.environ.get("CREWSERVE_EXECUTION_ID"),
            "random": random.random(),
            "numpy": float(np.random.random()),
        }
