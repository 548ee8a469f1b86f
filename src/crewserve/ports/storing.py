"""What is kept, and who reads it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from crewserve.domain.event_log import ALL, Entry, Wanted
from crewserve.domain.execution import (
    Cancel,
    Event,
    Execution,
)
from crewserve.domain.flow import FlowDescription
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, QueueState
from crewserve.domain.idempotency import IdempotencyKey, KeyedStart
from crewserve.domain.ids import ExecutionId, FlowName, QueueName, WorkerName
from crewserve.domain.output import ALL_LINES, Line, WantedLines
from crewserve.domain.query import Bar, Count, ExecutionFilter, ExecutionQuery, Grouping
from crewserve.domain.realm import Realm
from crewserve.domain.step import Attempt, Step
from crewserve.domain.usage import Spent, UsageGroup, UsageGrouping
from crewserve.domain.worker import Worker, WorkerQuery

LetIn = Callable[[Sequence[Execution]], object]
"""Says from any thread what became claimable."""


class Held(NamedTuple):
    """One attempt of one execution: what a lease, a process and a write belong to."""

    id: ExecutionId
    fence: int


class ExecutionStore(Protocol):
    """The writing side. Each method is one transaction.

    A method returns at once; its future resolves after the commit, or raises
    ``StorageUnavailable`` when there was none, ``ValueRefused`` when there never will be.
    Coroutines wait with ``asyncio.wrap_future``, other threads with ``result()``.
    """

    def on_let_in(self, announce: LetIn) -> None:
        """Have *announce* told what became claimable by other writes than those that name it."""
        ...

    def add(
        self,
        execution: Execution,
        steps: Sequence[Step] = (),
        key: IdempotencyKey | None = None,
        control: FlowControl = NO_CONTROL,
    ) -> Future[Sequence[ExecutionId]]:
        """*steps* are those that it need not run again; the answer has those that make way for it.

        Of all executions that come with the same *key* within `KEPT`, only one is ever added.

        Raises: KeyTaken, LaneFull, QueueFull.
        """
        ...

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        """Read after every write asked for before. Raises: ExecutionNotFound."""
        ...

    def change(
        self,
        execution_id: ExecutionId,
        event: Event,
        *,
        now: datetime,
        fence: int | None = None,
        realm: Realm | None = None,
    ) -> Future[Execution]:
        """`apply` *event* to the record as it is now; answers with what it is then.

        With *fence*, only while that attempt runs. Outside of *realm* there is nothing.

        Raises: ExecutionNotFound, InvalidTransition, StaleExecution.
        """
        ...

    def record(self, held: Held, step: Step, *, replaces: bool = True) -> Future[None]:
        """Keep a finished step, while that attempt runs.

        With *replaces* it takes the place of what an earlier attempt recorded at its position or
        after it. Without, the caller knows that nothing is there.

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
        only: Collection[ExecutionId] | None = None,
    ) -> Future[list[Execution]]:
        """Give the first executions in line of *flows* to *owner*, the first before others.

        With *only*, none but these. No two callers ever receive the same attempt.
        """
        ...

    def dispatch(
        self, *, pauses: Sequence[timedelta], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        """Take note that those in line are announced again; answer with them, the first first.

        One that was noted n times stays out for ``pauses[n]`` after the last time, and the first
        time after it became available. The last pause repeats.
        """
        ...

    def hand_back(
        self, owner: WorkerName, *, but: Collection[Held], now: datetime
    ) -> Future[list[Execution]]:
        """`HandedBack`, for all that *owner* has claimed except *but*; answers with those.

        For a claim whose answer was lost: nobody knows whether it was committed.
        """
        ...

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, Cancel | None]]:
        """Prolong exactly the leases in *held*; answer with those that still were *owner*'s.

        The value is the cancel that was requested. What is missing in the answer was lost: its
        process must die and write nothing.
        """
        ...

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        """End or requeue what nobody holds any more: expired leases, and all leases of *lost*.

        Returns the executions as they are afterwards; fewer than *limit* means that none is left.
        """
        ...

    def delete(self, execution_id: ExecutionId, *, realm: Realm | None = None) -> Future[None]:
        """Outside of *realm* there is nothing. Raises: ExecutionNotFound, ExecutionActive."""
        ...

    def let_in(
        self, *, limit: int, now: datetime, everywhere: bool = False
    ) -> Future[datetime | None]:
        """Put those in line whose time has come; the answer is when the next one's comes.

        With *everywhere*, it also looks at all that is held, for lanes that were left empty.
        """
        ...

    def pause(self, queue: QueueName, *, now: datetime) -> Future[None]:
        """Let nobody claim from *queue*."""
        ...

    def resume(self, queue: QueueName, *, limit: int) -> Future[bool]:
        """Let so many in that were held by the pause; the last of them end it.

        Whether more are left is the answer.
        """
        ...


class ExecutionReader(Protocol):
    """The reading side. It sees what is committed."""

    def within(self, realm: Realm) -> "ExecutionReader":
        """A reader for which nothing else exists. This one knows of all."""
        ...

    async def get(self, execution_id: ExecutionId) -> Execution:
        """Raises: ExecutionNotFound."""
        ...

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]: ...

    async def count(self, found: ExecutionFilter, by: Sequence[Grouping]) -> Sequence[Count]:
        """How many there are of each kind, in no order; kinds of which there are none are absent.

        Reads all that is found.
        """
        ...

    async def bars(self, found: ExecutionFilter, interval: timedelta) -> Sequence[Bar]:
        """The oldest interval first, in whole seconds; those in which nothing was are absent."""
        ...

    async def steps(self, execution_id: ExecutionId) -> Sequence[Step]:
        """In the order in which they ended; empty also for an unknown id."""
        ...

    async def step_page(
        self, execution_id: ExecutionId, *, after: int, limit: int
    ) -> Sequence[Step]:
        """The first of *steps* after that position, without their states."""
        ...

    async def step(self, execution_id: ExecutionId, position: int) -> Step:
        """Raises: StepNotRecorded, also for an unknown id."""
        ...

    async def attempts(self, execution_id: ExecutionId) -> Sequence[Attempt]:
        """The oldest first; empty also for an unknown id."""
        ...

    async def usage(self, execution_id: ExecutionId) -> Sequence[Spent]:
        """By step, agent and model, at most a thousand; empty also for an unknown id."""
        ...

    async def usage_by(
        self, found: ExecutionFilter, by: Sequence[UsageGrouping], limit: int
    ) -> Sequence[UsageGroup]:
        """The newest day first, then unknown costs, then the highest; without *by*, the sum of all.

        With a model in *found*, only what was used of that. Reads all that is found.
        """
        ...

    async def started_with(self, key: IdempotencyKey) -> KeyedStart | None:
        """Whatever its request was, and perhaps longer ago than `KEPT`."""
        ...

    async def queues(self) -> Sequence[QueueState]:
        """All that are paused or have something in them, by name."""
        ...

    async def position(self, execution_id: ExecutionId, *, limit: int) -> int | None:
        """1 for the next of its queue, or of its lane while that holds it.

        None when it is not in line, or further back than *limit*.
        """
        ...

    async def owners(self) -> Collection[WorkerName]:
        """Everybody who holds a lease, expired or not."""
        ...


class EventReader(Protocol):
    """What happened in each execution."""

    def log_within(self, realm: Realm) -> "EventReader":
        """As `ExecutionReader.within`."""
        ...

    async def events(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: Wanted = ALL
    ) -> Sequence[Entry]:
        """The first of *wanted* after that number, in order; none for an unknown id."""
        ...


class EventLog(EventReader, Protocol):
    """The writing side too. The store itself writes what it does to an execution."""

    def append(
        self,
        held: Held,
        entries: Sequence[Entry],
        *,
        again: bool = False,
        numbered: bool = True,
    ) -> Future[int | None]:
        """Number them on from the last one; with *numbered*, answers with that of the last of them.

        What they used is added up in the same transaction, and to the execution's record.

        With *again*, those whose id is in the log are left out: the answer to a write was lost.

        Raises: StaleExecution, when that attempt does not run.
        """
        ...


class OutputReader(Protocol):
    """What each execution printed and logged."""

    def output_within(self, realm: Realm) -> "OutputReader":
        """As `ExecutionReader.within`."""
        ...

    async def lines(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: WantedLines = ALL_LINES
    ) -> Sequence[Line]:
        """The first of *wanted* after that number, in order; none for an unknown id."""
        ...


class OutputLog(OutputReader, Protocol):
    """The writing side too."""

    def append_lines(self, held: Held, lines: Sequence[Line]) -> Future[None]:
        """Keep them under the numbers that they have, unless those are there already.

        Raises: StaleExecution, when that attempt does not run.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """What a worker found out about a flow that it has loaded, or could not load."""

    name: FlowName
    ref: str
    description: FlowDescription
    worker: WorkerName
    reported_at: datetime


class FlowReports(Protocol):
    """What workers tell those who cannot load flows."""

    def report(self, reports: Sequence[FlowReport]) -> Future[None]:
        """Keep it, in place of what anybody said of the same flows before."""
        ...

    async def reported(self) -> Sequence[FlowReport]:
        """The newest of each flow."""
        ...


class WorkerRegistry(Protocol):
    """Which workers there are. Futures are those of `ExecutionStore`."""

    def beat(self, worker: Worker) -> Future[bool]:
        """Keep what *worker* says of itself; answers whether it shall drain."""
        ...

    def request_drain(self, name: WorkerName, since: datetime | None) -> Future[None]:
        """Have it take nothing more; None takes that back.

        Raises: WorkerNotFound, WorkerStopped.
        """
        ...

    def leave(self, name: WorkerName, *, now: datetime) -> Future[None]:
        """It has stopped."""
        ...

    def call_roll(self, *, gone: Collection[WorkerName], now: datetime) -> Future[None]:
        """Note as lost those of *gone* and the silent; forget who left long ago."""
        ...

    async def present(self) -> Collection[WorkerName]:
        """All that neither stopped nor are known to be lost."""
        ...

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]: ...

    async def worker(self, name: WorkerName) -> Worker:
        """Raises: WorkerNotFound."""
        ...
