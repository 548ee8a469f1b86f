"""Who runs flows, and what they tell each other."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from crewserve.domain.errors import FieldError
from crewserve.domain.event_log import Chunk, Entry
from crewserve.domain.execution import (
    Execution,
)
from crewserve.domain.failure import Failure
from crewserve.domain.flow import FlowDescription, FlowSpec
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.output import Line
from crewserve.domain.step import Step
from crewserve.ports.storing import Held


@dataclass(frozen=True, slots=True)
class Finished:
    """The flow came to its end. Both values are JSON data."""

    state: Mapping[str, Any]
    output: Any


@dataclass(frozen=True, slots=True)
class Stopped:
    """The flow ended by itself because it was asked to."""


Outcome = Finished | Failure | Stopped


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt, as a host runs it."""

    flow: FlowSpec
    execution: Execution
    steps: Sequence[Step]
    """Those that ended in earlier attempts, in order: they do not run again."""
    record: Callable[[Step], Awaitable[None]]
    """Returns when a step that ended is durable. Raises StaleExecution when it never will be."""
    note: Callable[[Sequence[Entry | Chunk | Line]], Awaitable[None]]
    """Takes what happened, in order. Returns when there is room for more."""
    exceed: Callable[[Failure], None]
    """Says why it does not keep within its budget; it has begun to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What there is of processes that run executions."""

    busy: int
    idle: int
    forked: int
    """Ever, as are those that exited."""
    exited: int
    template_bytes: int
    """Resident, shared pages included, as in the largest child."""
    largest_child_bytes: int


class ChecksInputs(Protocol):
    """Knows the flows' own state models."""

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """What the flow's own state model says of *inputs*. Raises: FlowUnavailable, NotReady."""
        ...

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """Which of *names* the flow's state has no field for. Raises: NotReady."""
        ...

    async def check_ready(self) -> None:
        """Raises: NotReady, which says why nothing can begin."""
        ...


class FlowHost(ChecksInputs, Protocol):
    """Runs flows in processes of their own."""

    @property
    def room(self) -> int:
        """How many runs could begin now without waiting for each other."""
        ...

    async def run(self, run: Run) -> Outcome:
        """Run one attempt to its end. Cancelling this coroutine kills its processes first.

        Raises: NotReady.
        """
        ...

    def stop(self, held: Held) -> None:
        """Ask what runs to stop by itself. It may not, or may have ended."""
        ...

    def live_until(self, boottime: float) -> None:
        """Let running processes live until this second of ``CLOCK_BOOTTIME``; then kill them."""
        ...

    async def close(self) -> None:
        """Kill all that runs, within seconds, and run nothing more. May be called twice."""
        ...


class ExecutionFiles(Protocol):
    """Each execution's own folder."""

    async def remove(self, execution_id: ExecutionId) -> None:
        """Delete whatever the execution left; nothing there is no error."""
        ...


class Clock(Protocol):
    """Tells the time: aware, UTC."""

    def __call__(self) -> datetime: ...


class Announce(Protocol):
    """Says that executions became claimable."""

    def __call__(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        """Return at once. It may be said once too often, and may get lost.

        With *recorded* they will be, when that resolves.
        """
        ...


Expect = Callable[[datetime], None]
"""Say that an execution's time comes then. It may get lost: timers also look by themselves."""

NewId = Callable[[], ExecutionId]

AnnounceCancel = Callable[[ExecutionId], None]
"""Say that a running execution shall stop. Returns at once; leases tell it too, only later."""

AnnounceDrain = Callable[[WorkerName], None]
"""Say that a worker shall look whether it drains. Returns at once; its next heartbeat tells too."""

Described = Callable[[Mapping[FlowName, FlowDescription]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where executions run, as those see it who only take requests.

    What does nothing by default is heard from the database, where others run them.
    """

    checks: ChecksInputs
    announce: Announce
    announce_cancel: AnnounceCancel = lambda _: None
    announce_drain: AnnounceDrain = lambda _: None
    expect: Expect = lambda _: None
