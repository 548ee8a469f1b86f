"""Steps that survive the process: a finished one is kept before anything that listens to it runs.

A new process kicks the flow off again. Steps that were kept come back with their result and the
state after them, without running, and CrewAI's own engine walks the graph as it did before.

Finished steps run once; those that were running when the process ended run again, from the state
after the last step that finished. So a step that was interrupted after a parallel one had finished
finds what it had written to the state until then, and writes it again: parallel branches should
return results. What two results, or a result and the state, shared is shared no more.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from crewai.flow.flow import Flow
from pydantic import BaseModel

from crewserve.crew.codec import NotDecodable, NotEncodable, contents, decode, encode, fill
from crewserve.crew.describing import endings
from crewserve.crew.events import within_step
from crewserve.crew.internals import Step, feedback_on, note_step, raw_state, wrap_steps
from crewserve.crew.replay import Recorded, Replay
from crewserve.crew.wire import Message

__all__ = ["Record", "Recorded", "make_durable"]

Record = Callable[[Message], "Future[None]"]
"""Sends the step at once: ``position`` (from 1), ``name``, ``call``, ``result``, ``state``,
``problem``, and ``started`` and ``ended`` in seconds since 1970. Resolves when the host has
committed it; nobody waits for that of a step which nothing listens to, and which says ``final``.

The step takes the place of what had its position, or a higher one, before this process.
"""

STATE_ITSELF: Final = {"$state": True}
"""In place of a result that is the flow's state."""


def make_durable(
    flow: Flow[Any],
    journal: Sequence[Recorded],
    record: Record,
    check: Callable[[], None],
    *,
    accepts_changes: bool = False,
) -> None:
    """Keep the steps of this one flow object, which has not begun, and continue from *journal*.

    A recorded step with a problem, and all that were recorded after it, run again. *check* is
    called before each step, and raises when there shall be no more. A step that raises, is
    cancelled or waits for a person is not recorded. With *accepts_changes*, what does not fit the
    flow's classes any more runs again, too; without, it fails.
    """
    replay = Replay(journal, accepts_changes=accepts_changes)
    wrap_steps(flow, lambda step: _Durable(flow, replay, record, check, step).run)


@dataclass(frozen=True, slots=True)
class _Ended:
    name: str
    call: int
    result: Any
    started: float
    """Seconds since 1970, as ``ended``."""
    ended: float


class _Durable:
    """One flow object's way of running a step."""

    def __init__(
        self,
        flow: Flow[Any],
        replay: Replay,
        record: Record,
        check: Callable[[], None],
        step: Step,
    ) -> None:
        self._flow = flow
        self._replay = replay
        self._record = record
        self._check = check
        self._step = step
        self._calls = Counter[str]()
        self._endings = endings(type(flow))
        self._recorded_here = 0
        self._last_kept = asyncio.Event()
        self._last_kept.set()

    async def run(
        self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, str | None]:
        """Takes the place of ``Flow._execute_method``."""
        self._calls[name] += 1
        call = self._calls[name]
        recorded = await self._replay.turn(name, call)
        self._check()
        if recorded is not None:
            try:
                return self._come_back(recorded), None
            except NotDecodable:  # the classes have changed, or a fork's state does not fit them
                if not self._replay.accepts_changes:
                    raise
                self._replay.give_up()
        started = time.time()
        with within_step(name if call == 1 else f"{name}#{call}"):
            result, event = await self._step(name, method, *args, **kwargs)
        said = feedback_on(self._flow, name) or result
        await self._keep(_Ended(name, call, said, started, time.time()))
        return result, event

    def _come_back(self, step: Recorded) -> Any:
        is_state, state = step.result == STATE_ITSELF, decode(step.state)
        result = None if is_state else decode(step.result)
        _restore(raw_state(self._flow), state)
        self._replay.leave(step)
        return note_step(self._flow, step.name, raw_state(self._flow) if is_state else result)

    async def _keep(self, step: _Ended) -> None:
        """Goes on in the order in which steps ended: that is how they will come back."""
        committed = self._record(self._message(step))
        if step.name in self._endings:
            return
        before, kept = self._last_kept, asyncio.Event()
        self._last_kept = kept
        try:
            await asyncio.wrap_future(committed)
            await before.wait()
        finally:
            kept.set()

    def _message(self, step: _Ended) -> Message:
        state = raw_state(self._flow)
        self._recorded_here += 1
        message: Message = {
            "position": self._replay.position + self._recorded_here,
            "name": step.name,
            "call": step.call,
            "result": None,
            "state": None,
            "problem": None,
            "final": step.name in self._endings,
            "started": step.started,
            "ended": step.ended,
        }
        try:
            result = STATE_ITSELF if step.result is state else encode(step.result, "result")
            return {**message, "result": result, "state": _encode_state(state)}
        except NotEncodable as error:
            return {**message, "problem": str(error)}


def _encode_state(state: Any) -> Any:
    return encode(contents(state) if isinstance(state, BaseModel) else dict(state), "state")


def _restore(state: Any, found: dict[str, Any]) -> None:
    """In place: what already refers to the state sees it. Fields that are new stay as they are."""
    own = {"id": _id_of(state)}  # a fork's is not its parent's
    if isinstance(state, BaseModel):
        fill(state, {**contents(state), **found, **own})
    else:
        state.clear()
        state.update({**found, **own})


def _id_of(state: Any) -> Any:
    """The execution's id, which CrewAI keeps in the state."""
    return state["id"] if isinstance(state, dict) else state.id
