"""What a caller can do with executions, whatever the transport."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from crewserve.application.catalog import FlowCatalog
from crewserve.application.charts import Window, chart
from crewserve.application.forks import Wish
from crewserve.domain.errors import (
    ExecutionNotFound,
    FieldError,
    InvalidInputs,
    KeyMismatch,
    KeyTaken,
    NotCancellable,
    NotRetryable,
)
from crewserve.domain.execution import CancelRequested, Driver, Execution
from crewserve.domain.flow import FlowSpec
from crewserve.domain.flow_control import FlowControl
from crewserve.domain.idempotency import KEPT, IdempotencyKey, Started
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.labels import NO_LABELS, Labels
from crewserve.domain.policy import Policy
from crewserve.domain.principal import ANYBODY, Principal
from crewserve.domain.query import Count, ExecutionFilter, ExecutionQuery, Grouping, Place
from crewserve.domain.status import Status
from crewserve.domain.step import Attempt, Step
from crewserve.domain.usage import Spent, UsageGroup, UsageGrouping
from crewserve.ports import (
    Announce,
    AnnounceCancel,
    ChecksInputs,
    Clock,
    ExecutionFiles,
    ExecutionReader,
    ExecutionStore,
    Expect,
    NewId,
)

PAGE = 1000

_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""In other time zones the last days of that year are no longer in it."""

RESERVED_INPUT = FieldError(
    field="id",
    message="'id' is reserved: it would make the flow read the state of another execution",
    type="reserved",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What a caller wants of one execution; None leaves it to the flow."""

    policy: Policy | None = None
    priority: int | None = None
    start_at: datetime | None = None
    """Not before this time, nor before *delay* is over."""
    delay: timedelta = timedelta()
    labels: Labels = NO_LABELS

    def begin(self, now: datetime) -> datetime:
        """When it may begin, if it is accepted *now*."""
        return min(max(now + self.delay, self.start_at or now), _NEVER).astimezone(UTC)


AS_THE_FLOW: Final = How()


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Submit, read, list and delete."""

    store: ExecutionStore
    reader: ExecutionReader
    catalog: FlowCatalog
    host: ChecksInputs
    files: ExecutionFiles
    announce: Announce
    announce_cancel: AnnounceCancel
    expect: Expect
    new_id: NewId
    clock: Clock
    principal: Principal = ANYBODY
    """Who asks."""
    _in_flight: set[tuple[str, str]] = field(default_factory=set)
    """Keys whose first request this process answers now. Between processes the store decides."""

    def of(self, principal: Principal) -> "Executions":
        """The same for somebody else. Nothing outside of that one's realm exists there."""
        return replace(self, principal=principal, reader=self.reader.within(principal.realm))

    async def once(
        self,
        key: IdempotencyKey | None,
        start: Callable[[IdempotencyKey | None], Awaitable[Execution]],
    ) -> Started:
        """What *start* begins, or what it began when it was asked for with the same *key* before.

        When *start* refuses, the key stays free.

        Raises: KeyTaken, KeyMismatch, StorageUnavailable, and whatever *start* does.
        """
        if key is None:
            return _started(await start(None))
        key = replace(key, scope=self.principal.tenant)
        name = (key.scope, key.value)
        if name in self._in_flight:
            raise KeyTaken(key.value)
        self._in_flight.add(name)
        try:
            return await self._before(key) or _started(await start(key))
        finally:
            self._in_flight.discard(name)

    async def _before(self, key: IdempotencyKey) -> Started | None:
        before = await self.reader.started_with(key)
        if before is None or before.created_at <= self.clock() - KEPT:
            return None
        if before.fingerprint != key.fingerprint:
            raise KeyMismatch(key.value)
        return Started(before.execution, before.flow, replayed=True)

    async def submit(
        self,
        flow: FlowSpec,
        inputs: Mapping[str, Any],
        how: How = AS_THE_FLOW,
        key: IdempotencyKey | None = None,
    ) -> Execution:
        """Check and record durably. When it returns, the execution survives a crash.

        Raises: FlowUnavailable, InvalidInputs, KeyTaken, LaneFull, NotReady, QueueFull,
            ScopeMissing, StorageUnavailable.
        """
        self.catalog.check_available(flow)
        await self._check(flow, inputs)
        execution = self._new(flow, inputs, how, policy=how.policy or flow.policy)
        await self._add(execution, flow.control, key=key)
        return execution

    def _new(self, flow: FlowSpec, inputs: Mapping[str, Any], how: How, **more: Any) -> Execution:
        self.principal.check_execute(flow.name)
        now, tenant = self.clock(), self.principal.tenant
        return Execution(
            id=self.new_id(),
            flow=flow.name,
            tenant=tenant,
            status=Status.PENDING,
            inputs=inputs,
            created_at=now,
            available_at=how.begin(now),
            turn=flow.control.turn(flow.name, inputs, how.priority, tenant),
            labels=how.labels,
            **more,
        )

    async def _add(
        self,
        execution: Execution,
        control: FlowControl,
        steps: Sequence[Step] = (),
        key: IdempotencyKey | None = None,
    ) -> None:
        added = self.store.add(execution, steps, key, control)
        if execution.available_at == execution.created_at:
            self.announce([execution], added)
        for made_way in await asyncio.wrap_future(added):
            self.announce_cancel(made_way)
        if execution.available_at > execution.created_at:
            self.expect(execution.available_at)

    async def cancel(
        self, execution_id: ExecutionId, grace: timedelta, reason: str | None = None
    ) -> Execution:
        """What does not run ends at once; what runs is asked to stop, and killed after *grace*.

        Raises: ExecutionNotFound, InvalidTransition, NotCancellable, StorageUnavailable.
        """
        execution = await self.reader.get(execution_id)
        if execution.driver is Driver.CALLER and not execution.status.is_terminal:
            raise NotCancellable(execution_id)
        event = CancelRequested(grace, reason)
        realm = self.principal.realm
        changed = self.store.change(execution_id, event, now=self.clock(), realm=realm)
        cancelled = await asyncio.wrap_future(changed)
        if cancelled.status is Status.RUNNING:
            self.announce_cancel(execution_id)
        return cancelled

    async def active(self, flow: FlowName | None, status: Status | None) -> Sequence[ExecutionId]:
        """All that have not ended, newest first."""
        found: list[ExecutionId] = []
        wanted = {status} if status else {each for each in Status if not each.is_terminal}
        query = ExecutionQuery(flow=flow, statuses=frozenset(wanted), limit=PAGE, results=False)
        while page := await self.reader.page(query):
            found += [each.id for each in page if each.driver is Driver.WORKER]
            query = replace(query, after=Place(0, page[-1].id))
        return found

    async def retry(
        self,
        execution_id: ExecutionId,
        wish: Wish,
        key: IdempotencyKey | None = None,
    ) -> Execution:
        """A new execution with the same inputs that goes on where this one stopped.

        Raises: ExecutionNotFound, KeyTaken, LaneFull, NotRetryable, QueueFull, ScopeMissing,
            StorageUnavailable.
        """
        before = await self.reader.get(execution_id)
        if before.status not in (Status.FAILED, Status.CANCELLED):
            raise NotRetryable(execution_id, before.status)
        return await self.fork(execution_id, wish, key)

    async def fork(
        self, execution_id: ExecutionId, wish: Wish, key: IdempotencyKey | None = None
    ) -> Execution:
        """A new execution that begins with steps which another one finished.

        Raises: ExecutionNotFound, StepNotFound, InvalidInputs, KeyTaken, LaneFull, NotReady,
            QueueFull, ScopeMissing, StorageUnavailable.
        """
        wish.check()
        before = await self.reader.get(execution_id)
        flow = self.catalog.find(before.flow)
        steps = wish.kept(await self.reader.steps(execution_id))
        if wish.state:
            self._refuse(await self.host.unknown_fields(flow, wish.state))
        inputs = wish.inputs if wish.inputs is not None else before.inputs
        if wish.state and not steps:
            inputs = {**inputs, **wish.state}
        if inputs is not before.inputs:
            inputs = await self._checked(flow, inputs)
        forked = self._new(
            flow,
            inputs,
            How(priority=before.turn.priority, labels=before.labels),
            policy=replace(before.policy, budget=wish.budget or before.policy.budget),
            parent=before.id,
            accepts_changes=wish.accepts_changes,
        )
        await self._add(forked, flow.control, steps, key)
        return forked

    async def _checked(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if flow.check_inputs is not None:
            inputs = flow.check_inputs(inputs)
        await self._check(flow, inputs)
        return inputs

    async def _check(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> None:
        """Inputs that a request model accepted are not checked again."""
        if "id" in inputs:
            raise InvalidInputs([RESERVED_INPUT])
        if flow.input_schema is None:
            self._refuse(await self.host.validate(flow, inputs))

    @staticmethod
    def _refuse(errors: Sequence[FieldError]) -> None:
        if errors:
            raise InvalidInputs(errors)

    async def get(self, execution_id: ExecutionId, *, flow: FlowName | None = None) -> Execution:
        """Raises: ExecutionNotFound, also when it is of another flow than *flow*."""
        execution = await self.reader.get(execution_id)
        if flow is not None and execution.flow != flow:
            raise ExecutionNotFound(execution_id)
        return execution

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        """In the order that is asked for."""
        return await self.reader.page(query)

    async def count(self, found: ExecutionFilter, by: Sequence[Grouping]) -> Sequence[Count]:
        """The largest number first."""
        counts = await self.reader.count(found, by)
        return sorted(counts, key=lambda one: (-one.number, [value or "" for value in one.of]))

    async def chart(
        self, found: ExecutionFilter, window: Window
    ) -> Mapping[datetime, Mapping[Status, int]]:
        """What was created in each interval of *window*, also when it was nothing."""
        within = replace(found, created_from=window.begin, created_before=window.end)
        return chart(await self.reader.bars(within, window.interval), window)

    async def step_page(
        self, execution_id: ExecutionId, *, after: int, limit: int
    ) -> Sequence[Step]:
        """In the order in which they ended, without their states. Raises: ExecutionNotFound."""
        await self.reader.get(execution_id)
        return await self.reader.step_page(execution_id, after=after, limit=limit)

    async def step(self, execution_id: ExecutionId, position: int) -> Step:
        """Raises: ExecutionNotFound, StepNotRecorded."""
        await self.reader.get(execution_id)
        return await self.reader.step(execution_id, position)

    async def usage(self, execution_id: ExecutionId) -> tuple[Execution, Sequence[Spent]]:
        """By step, agent and model. Raises: ExecutionNotFound."""
        return await self.reader.get(execution_id), await self.reader.usage(execution_id)

    async def usage_by(
        self, found: ExecutionFilter, by: Sequence[UsageGrouping], limit: int
    ) -> tuple[UsageGroup, Sequence[UsageGroup]]:
        """All of it, and the first groups; see `ExecutionReader.usage_by`."""
        [total] = await self.reader.usage_by(found, [], 1)
        return total, await self.reader.usage_by(found, by, limit) if by else []

    async def attempts(self, execution_id: ExecutionId) -> Sequence[Attempt]:
        """The oldest first; none for an unknown id."""
        return await self.reader.attempts(execution_id)

    async def position(self, execution: Execution) -> int | None:
        """1 for the next of its queue, or of its lane while that holds it; None further back."""
        if execution.status is not Status.PENDING:
            return None
        return await self.reader.position(execution.id, limit=PAGE)

    async def delete(self, execution_id: ExecutionId) -> None:
        """Forget an execution and its files for ever.

        Raises: ExecutionNotFound, ExecutionActive.
        """
        await asyncio.wrap_future(self.store.delete(execution_id, realm=self.principal.realm))
        await self.files.remove(execution_id)


def _started(execution: Execution) -> Started:
    return Started(execution.id, execution.flow, replayed=False)
