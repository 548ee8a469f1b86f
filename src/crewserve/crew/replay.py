"""In which order recorded steps come back, and when the first new one may begin."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

SETTLE_TURNS: Final = 20
"""Of the event loop, after a step came back: in these CrewAI starts what listens to it, and cancels
what lost a race against it."""

TICK: Final = 0.1
"""Seconds. Counted in ticks, so that a process which was frozen for a while does not give up."""

QUIET_TICKS: Final = 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step that ended before: JSON data from the journal."""

    position: int
    name: str
    call: int
    result: Any
    state: Any
    problem: str | None


class Replay:
    """Lets recorded steps come back one by one, in the order in which they ended.

    Only that order makes CrewAI decide again as it did: who was first for an ``or_``, which call of
    a method was whose. New steps wait until all have come back. If nothing moves any more because
    the flow's code has changed, the rest of the journal is given up, and those steps run again.

    Used on one event loop only.
    """

    def __init__(self, journal: Sequence[Recorded], *, accepts_changes: bool) -> None:
        self.accepts_changes = accepts_changes
        ordered = sorted(journal, key=lambda step: step.position)
        self._due = list(takewhile(lambda step: step.problem is None, ordered))
        self._by_call = {(step.name, step.call): step for step in self._due}
        self._due.reverse()
        self._gone: set[int] = set()
        self._moved = asyncio.Event()
        self.position = 0
        """Of the last step that came back."""

    async def turn(self, name: str, call: int) -> Recorded | None:
        """Wait until this call of the method is due; None when it has to run.

        A recorded step must be left (``leave``) once it came back.
        """
        step = self._by_call.get((name, call))
        try:
            while self._due and step is not self._due[-1]:
                await self._wait_for_a_move()
        except asyncio.CancelledError:
            if step:  # it lost a race again, after it had ended
                self.leave(step)
            raise
        return step if self._due else None

    def leave(self, step: Recorded) -> None:
        """The next one is due."""
        self._gone.add(step.position)
        while self._due and self._due[-1].position in self._gone:
            self.position = self._due.pop().position
        self._move()

    def give_up(self) -> None:
        """What has not come back runs again."""
        self._due.clear()
        self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _wait_for_a_move(self) -> None:
        moved = self._moved
        for _ in range(QUIET_TICKS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await moved.wait()
                break
        else:
            if moved is self._moved:
                self.give_up()
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
