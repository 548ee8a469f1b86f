"""One attempt in this supervisor, from claim to recorded end."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from crewserve.domain.errors import NotReady, StorageUnavailable
from crewserve.domain.execution import (
    GRACE,
    Cancel,
    Cancelled,
    Event,
    Execution,
    HandedBack,
    Raised,
    Returned,
)
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.redaction import redact
from crewserve.ports import FlowHost, Held, Outcome, Run, Stopped

log = logging.getLogger(__name__)


class Why(Enum):
    """Why an attempt was killed."""

    LOST = auto()
    """Its lease is somebody else's: nothing of it may be written."""
    HANDED_BACK = auto()
    """The supervisor stops."""
    CANCELLED = auto()
    TIMEOUT = auto()
    EXCEEDED = auto()
    """Its budget is used up, and it did not stop by itself."""


@dataclass(slots=True, eq=False)
class Job:
    """Runs the flow and tells what came of it; whoever has a reason may kill it."""

    flow: FlowSpec
    execution: Execution
    host: FlowHost
    _task: "asyncio.Task[Outcome] | None" = None
    _killed: Why | None = None
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _cancel: Cancel | None = None
    _exceeded: Failure | None = None

    @property
    def held(self) -> Held:
        return Held(self.execution.id, self.execution.fence)

    async def work(self, prepare: Callable[[], Awaitable[Run]]) -> Event | None:
        """Until nothing of it runs any more. None: it is not ours to write."""
        self._task = asyncio.create_task(self._run(prepare), name=f"run-{self.execution.id}")
        if self._killed is not None:
            self._task.cancel()
        try:
            await asyncio.wait([self._task])
        finally:
            for timer in self._timers:
                timer.cancel()
        return self._event(self._task)

    async def _run(self, prepare: Callable[[], Awaitable[Run]]) -> Outcome:
        run = await prepare()
        if seconds := self.execution.policy.timeout_seconds:
            self._in(seconds, Why.TIMEOUT)
        return await self.host.run(run)

    def cancel(self, cancel: Cancel) -> None:
        """Ask it to stop; kill it when the grace is over. Asking again may shorten the grace."""
        if self._cancel is not None and self._cancel.grace <= cancel.grace:
            return
        self._cancel = cancel
        if grace := cancel.grace.total_seconds():
            self.host.stop(self.held)
            self._in(grace, Why.CANCELLED)
        else:
            self.kill(Why.CANCELLED)

    def exceed(self, failure: Failure) -> None:
        """It may use nothing more and is stopping; kill it when the grace is over."""
        if self._exceeded is None:
            self._exceeded = failure
            self._in(GRACE.total_seconds(), Why.EXCEEDED)

    def kill(self, why: Why) -> None:
        """Kill its processes; `work` returns when they are gone."""
        first = self._killed is None
        if first or why is Why.LOST:
            self._killed = why
        if first and self._task is not None:  # a second time would cut off the wait for its end
            self._task.cancel()

    def _in(self, seconds: float, why: Why) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self.kill, why))

    def _event(self, task: "asyncio.Task[Outcome]") -> Event | None:
        if self._killed is Why.LOST:
            with suppress(Exception, asyncio.CancelledError):
                task.result()
            return None
        if task.cancelled():
            return self._killed_event()
        error = task.exception()
        if self._exceeded is not None:  # however it ended
            return _raised(self._exceeded)
        if error is None:
            return _event(self.flow, task.result())
        if isinstance(error, NotReady | StorageUnavailable):
            return HandedBack()
        log.error("Execution %s could not be run", self.execution.id, exc_info=error)
        return _lost("The server failed while it ran this execution; its log says why")

    def _killed_event(self) -> Event:
        if self._killed is Why.CANCELLED:
            return Cancelled()
        if self._killed is Why.TIMEOUT:
            seconds = self.execution.policy.timeout_seconds
            message = f"The attempt ran longer than {seconds:g} s"
            return _raised(Failure(code=FailureCode.TIMEOUT, message=message))
        return HandedBack() if self._exceeded is None else _raised(self._exceeded)


def _event(flow: FlowSpec, outcome: Outcome) -> Event:
    if isinstance(outcome, Failure):
        return _raised(outcome)
    if isinstance(outcome, Stopped):
        return Cancelled()
    if flow.shape_result is None:
        return Returned(outcome.output)
    try:
        return Returned(flow.shape_result(outcome.state))
    except Exception as error:  # noqa: BLE001  # the result model's validators are user code
        message = f"The final state does not fit the result model: {redact(str(error))}"
        return _raised(Failure(code=FailureCode.INVALID_OUTPUT, message=message))


def _lost(message: str) -> Raised:
    return _raised(Failure(code=FailureCode.WORKER_LOST, message=message))


def _raised(failure: Failure) -> Raised:
    return Raised(failure, jitter=random.random())  # noqa: S311  # spreads retries, hides nothing
