"""Flows that write each step that runs into a file, so that nothing can run twice unseen."""

import os
import time
from pathlib import Path
from typing import Literal

from crewai.flow.flow import Flow, and_, listen, or_, router, start
from pydantic import BaseModel


def note(diary: str, step: str) -> None:
    """One line, written at once, by whichever process."""
    line = f"{step} {os.getpid()} {time.time_ns()}\n"
    descriptor = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Work(BaseModel):
    diary: str
    pause: float = 0.0
    """Seconds that each step takes."""
    rounds: int = 2
    gate: str = ""
    total: int = 0


def step(work: Work, name: str, length: int = 1) -> int:
    """Takes *length* pauses; returns 1."""
    note(work.diary, f"{name}.begin")
    time.sleep(work.pause * length)
    note(work.diary, f"{name}.end")
    return 1


class Linear(Flow[Work]):
    @start()
    def one(self) -> int:
        return step(self.state, "one")

    @listen(one)
    def two(self, before: int) -> int:
        return before + step(self.state, "two")

    @listen(two)
    def three(self, before: int) -> int:
        self.state.total = before + step(self.state, "three")
        return int(self.state.total)


class Gated(Flow[Work]):
    """Its second step waits until there is a file called `gate`."""

    @start()
    def one(self) -> int:
        return step(self.state, "one")

    @listen(one)
    def two(self, before: int) -> int:
        note(self.state.diary, "two.begin")
        while not Path(self.state.gate).exists():
            time.sleep(0.01)
        note(self.state.diary, "two.end")
        return before + 1

    @listen(two)
    def three(self, before: int) -> int:
        return before + step(self.state, "three")


class Looping(Flow[Work]):
    """Goes round as often as it is told."""

    @start()
    def begin(self) -> int:
        return step(self.state, "begin")

    @listen(or_(begin, "more"))
    def turn(self) -> int:
        self.state.total += step(self.state, "turn")
        return int(self.state.total)

    @router(turn)
    def again(self) -> Literal["more", "enough"]:
        return "more" if self.state.total < self.state.rounds else "enough"

    @listen("enough")
    def last(self) -> int:
        return int(self.state.total) + step(self.state, "last")


class Parallel(Flow[Work]):
    """Two branches that return their results, and a join."""

    @start()
    def left(self) -> int:
        return step(self.state, "left")

    @start()
    def right(self) -> int:
        return step(self.state, "right", length=2)

    @listen(and_(left, right))
    def join(self) -> int:
        outputs: list[int] = list(self.method_outputs)
        return sum(outputs) + step(self.state, "join")


class Racing(Flow[Work]):
    """Whoever loses the race may be cancelled while its step is being recorded."""

    @start()
    def begin(self) -> int:
        return step(self.state, "begin")

    @listen(begin)
    async def quick(self) -> int:
        return 1

    @listen(begin)
    async def slow(self) -> int:
        return 1

    @listen(or_(quick, slow))
    def first(self) -> int:
        return step(self.state, "first")

    @start()
    def beside(self) -> int:
        return step(self.state, "beside")

    @listen(and_(first, beside))
    def last(self) -> int:
        return step(self.state, "last")
