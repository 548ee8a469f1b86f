"""What the use cases and the worker need from the outside world."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from crewserve.domain.errors import FieldError
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure
from crewserve.domain.flow import FlowDescription, FlowSpec
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status


class Held(NamedTuple):
    """One attempt of one execution: what a lease, a process and a write belong to."""

    id: ExecutionId
    fence: int


class ExecutionStore(Protocol):
    """The writing side. Each method is one transaction.

    A method returns at once; its future resolves after the commit, or raises
    ``StorageUnavailable`` when there was none. Coroutines wait with ``asyncio.wrap_future``,
    other threads with ``result()``.
    """

    def add(self, execution: Execution) -> Future[None]: ...

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        """Read after every write asked for before. Raises: ExecutionNotFound."""
        ...

    def replace(self, before: Execution, after: Execution) -> Future[None]:
        """Write *after* if status and fence still are as in *before*.

        Raises: StaleExecution.
        """
        ...

    def claim(
        self,
        owner: WorkerName,
        *,
        flows: Collection[FlowName],
        limit: int,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[list[Execution]]:
        """Give the oldest pending executions of *flows* to *owner*, oldest first.

        No two callers ever receive the same attempt.
        """
        ...

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, bool]]:
        """Prolong exactly the leases in *held*; answer with those that still were *owner*'s.

        The value says whether a cancel was requested. What is missing in the answer was lost:
        its process must die and write nothing.
        """
        ...

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        """End or requeue what nobody holds any more: expired leases, and all leases of *lost*.

        Returns the executions as they are afterwards; fewer than *limit* means that none is left.
        """
        ...

    def delete(self, execution_id: ExecutionId) -> Future[None]:
        """Raises: ExecutionNotFound, ExecutionActive."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions, newest first. None does not filter."""

    flow: FlowName | None = None
    status: Status | None = None
    limit: int = 100
    before: ExecutionId | None = None
    """Only executions older than this one: the last of the page before."""


class ExecutionReader(Protocol):
    """The reading side. It sees what is committed."""

    async def get(self, execution_id: ExecutionId) -> Execution:
        """Raises: ExecutionNotFound."""
        ...

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]: ...

    async def owners(self) -> Collection[WorkerName]:
        """Everybody who holds a lease, expired or not."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """The flow came to its end. Both values are JSON data."""

    state: Mapping[str, Any]
    output: Any


Outcome = Finished | Failure


def lease_lost_reason(execution: Execution, lost: Collection[WorkerName]) -> str:
    """What to tell about an execution that a store reaps."""
    if execution.lease_owner in lost:
        return "The server that ran it was stopped or killed before the flow had finished"
    return "Nothing was heard of the server that ran it until its lease expired"


class FlowHost(Protocol):
    """Runs flows in processes of their own."""

    @property
    def room(self) -> int:
        """How many runs could begin now without waiting for each other."""
        ...

    async def run(self, flow: FlowSpec, execution: Execution) -> Outcome:
        """Run one attempt to its end. Cancelling this coroutine kills its processes first."""
        ...

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """What the flow's own state model says of *inputs*. Raises: NotReady."""
        ...

    def live_until(self, boottime: float) -> None:
        """Let running processes live until this second of ``CLOCK_BOOTTIME``; then kill them."""
        ...


class ExecutionFiles(Protocol):
    """Each execution's own folder."""

    async def remove(self, execution_id: ExecutionId) -> None:
        """Delete whatever the execution left; nothing there is no error."""
        ...


class Clock(Protocol):
    """Tells the time: aware, UTC."""

    def __call__(self) -> datetime: ...


NewId = Callable[[], ExecutionId]
Announce = Callable[[], None]
"""Say that something became claimable. Returns at once and may say it once too often."""

Described = Callable[[Mapping[FlowName, FlowDescription]], None]
