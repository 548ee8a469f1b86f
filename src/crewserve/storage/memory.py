"""The same ports in a dict: for tests, and to show what a store must do."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeVar

from crewserve.domain import lifecycle
from crewserve.domain.api_key import ApiKey
from crewserve.domain.attempts import ended_attempt, lease_lost_reason
from crewserve.domain.audit import AuditEntry
from crewserve.domain.errors import (
    CrewserveError,
    ExecutionActive,
    KeyTaken,
    StaleExecution,
)
from crewserve.domain.event_log import Entry
from crewserve.domain.execution import (
    Cancel,
    Claimed,
    Driver,
    Event,
    Execution,
    HandedBack,
    LeaseExpired,
    apply,
    giving_way,
    standing,
)
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, Standing, WhenFull
from crewserve.domain.idempotency import KEPT, IdempotencyKey, KeyedStart
from crewserve.domain.ids import AuditId, ExecutionId, FlowName, KeyId, QueueName, WorkerName
from crewserve.domain.output import Line
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status
from crewserve.domain.step import Attempt, Step
from crewserve.domain.usage import Spender, Usage
from crewserve.domain.worker import Worker
from crewserve.ports import FlowReport, Held, LetIn
from crewserve.storage.memory_api_keys import MemoryApiKeys
from crewserve.storage.memory_audit import MemoryAudit
from crewserve.storage.memory_events import MemoryEvents
from crewserve.storage.memory_lanes import MemoryLanes
from crewserve.storage.memory_output import MemoryOutput
from crewserve.storage.memory_reading import MemoryReading
from crewserve.storage.memory_retention import MemoryRetention
from crewserve.storage.memory_usage import MemoryUsage
from crewserve.storage.memory_workers import MemoryWorkers
from crewserve.storage.types import encode_json

T = TypeVar("T")


class MemoryStore(
    MemoryReading,
    MemoryUsage,
    MemoryEvents,
    MemoryOutput,
    MemoryRetention,
    MemoryWorkers,
    MemoryApiKeys,
    MemoryAudit,
):
    """All storage ports in one process; nothing outlives it."""

    def __init__(self) -> None:
        self._rows: dict[ExecutionId, Execution] = {}
        self._steps: dict[ExecutionId, dict[int, tuple[int, Step]]] = {}
        self._attempts: dict[Held, Attempt] = {}
        self._entries: dict[ExecutionId, list[Entry]] = {}
        self._usage: dict[ExecutionId, dict[Spender, Usage]] = {}
        self._lines: dict[ExecutionId, dict[int, Line]] = {}
        self._keys: dict[tuple[str, str], KeyedStart] = {}
        self._dispatches: dict[ExecutionId, tuple[int, datetime]] = {}
        self._reports: dict[FlowName, FlowReport] = {}
        self._workers: dict[WorkerName, Worker] = {}
        self._api_keys: dict[KeyId, ApiKey] = {}
        self._audit: dict[AuditId, AuditEntry] = {}
        self._lanes = MemoryLanes(self._rows)
        self._let_in: list[Execution] = []
        self._announce: LetIn = lambda _: None
        self._lock = Lock()

    def on_let_in(self, announce: LetIn) -> None:
        self._announce = announce

    def add(
        self,
        execution: Execution,
        steps: Sequence[Step] = (),
        key: IdempotencyKey | None = None,
        control: FlowControl = NO_CONTROL,
    ) -> Future[Sequence[ExecutionId]]:
        def run() -> Sequence[ExecutionId]:
            if refusal := self._lanes.refusal(execution, control):
                raise refusal
            _check(execution.inputs, execution.result, *((one.result, one.state) for one in steps))
            if key is not None:
                self._take(key, execution)
            self._add(execution, steps)
            return self._make_way(execution, control)

        return self._transaction(run)

    def _make_way(self, execution: Execution, control: FlowControl) -> Sequence[ExecutionId]:
        now, places = execution.created_at, execution.turn.max_running
        if places is None or standing(execution, now) is not Standing.HELD:
            return ()
        others: list[Execution] = []
        if control.when_full is WhenFull.CANCEL_RUNNING:
            others = self._lanes.oldest_but(execution, places - 1)
        for other in others:
            self._apply(other, giving_way(execution.id), now)
        self._let_in += self._lanes.admit(execution)
        return [other.id for other in others]

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        return self._transaction(lambda: self._find(execution_id))

    def change(
        self,
        execution_id: ExecutionId,
        event: Event,
        *,
        now: datetime,
        fence: int | None = None,
        realm: Realm | None = None,
    ) -> Future[Execution]:
        def run() -> Execution:
            before = self._find(execution_id, realm)
            if fence is not None and (before.fence, before.status) != (fence, Status.RUNNING):
                raise StaleExecution(execution_id)
            return self._apply(before, event, now)

        return self._transaction(run)

    def record(self, held: Held, step: Step, *, replaces: bool = True) -> Future[None]:
        def run() -> None:
            self._check_held(held)
            _check(step.result, step.state)
            kept = {
                position: (fence, one)
                for position, (fence, one) in self._steps[held.id].items()
                if position < step.position or fence == held.fence or not replaces
            }
            self._steps[held.id] = {**kept, step.position: (held.fence, step)}

        return self._transaction(run)

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
        def run() -> list[Execution]:
            ready = [
                row
                for row in self._lanes.claimable()
                if row.flow in flows and (only is None or row.id in only)
            ]
            event = Claimed(owner, lease_expires_at)
            return [self._apply(row, event, now) for row in ready[:limit]]

        return self._transaction(run)

    def hand_back(
        self, owner: WorkerName, *, but: Collection[Held], now: datetime
    ) -> Future[list[Execution]]:
        def run() -> list[Execution]:
            return [
                self._apply(row, HandedBack(), now)
                for row in list(self._rows.values())
                if row.lease_owner == owner
                and row.status is Status.RUNNING
                and row.driver is Driver.WORKER
                and Held(row.id, row.fence) not in but
            ]

        return self._transaction(run)

    def dispatch(
        self, *, pauses: Sequence[timedelta], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        def is_heard_of(row: Execution) -> bool:
            times, last = self._dispatches.get(row.id, (0, row.available_at))
            return last > now - pauses[min(times, len(pauses) - 1)]

        def run() -> list[Execution]:
            ready = self._lanes.in_line(Standing.READY)
            due = [row for row in ready if not is_heard_of(row)][:limit]
            for row in due:
                times, _ = self._dispatches.get(row.id, (0, now))
                self._dispatches[row.id] = (times + 1, now)
            return due

        return self._transaction(run)

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, Cancel | None]]:
        def run() -> Mapping[Held, Cancel | None]:
            mine = [
                row
                for row in self._rows.values()
                if Held(row.id, row.fence) in held
                and row.lease_owner == owner
                and row.lease_expires_at is not None
                and row.lease_expires_at > now
            ]
            self._put([replace(row, lease_expires_at=lease_expires_at) for row in mine])
            return {Held(row.id, row.fence): row.cancel for row in mine}

        return self._transaction(run)

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        def run() -> list[Execution]:
            gone = [row for row in self._rows.values() if _is_abandoned(row, lost, now)]
            return [
                self._apply(row, LeaseExpired(lease_lost_reason(row, lost)), now)
                for row in gone[:limit]
            ]

        return self._transaction(run)

    def delete(self, execution_id: ExecutionId, *, realm: Realm | None = None) -> Future[None]:
        def run() -> None:
            row = self._find(execution_id, realm)
            unclaimed = row.status is Status.PENDING and row.driver is Driver.WORKER
            if not row.status.is_terminal and not unclaimed:
                raise ExecutionActive(execution_id, row.status)
            self._remove(execution_id)
            self._let_in += self._lanes.admit(row)

        return self._transaction(run)

    def let_in(
        self, *, limit: int, now: datetime, everywhere: bool = False
    ) -> Future[datetime | None]:
        """Nothing is ever undone here, so no lane is left empty and *everywhere* finds nothing."""

        def run() -> datetime | None:
            self._let_in += self._lanes.let_in(limit, now)
            return self._lanes.next_due()

        return self._transaction(run)

    def pause(self, queue: QueueName, *, now: datetime) -> Future[None]:
        return self._transaction(lambda: self._lanes.pause(queue, now))

    def resume(self, queue: QueueName, *, limit: int) -> Future[bool]:
        def run() -> bool:
            found, is_more = self._lanes.resume(queue, limit)
            self._let_in += found
            return is_more

        return self._transaction(run)

    def report(self, reports: Sequence[FlowReport]) -> Future[None]:
        return self._transaction(
            lambda: self._reports.update({report.name: report for report in reports})
        )

    async def reported(self) -> Sequence[FlowReport]:
        return list(self._reports.values())

    async def owners(self) -> Collection[WorkerName]:
        return {row.lease_owner for row in self._rows.values() if row.lease_owner is not None}

    def _leases_of(self, name: WorkerName) -> int:
        return sum(row.lease_owner == name for row in self._rows.values())

    def _check_held(self, held: Held) -> None:
        row = self._rows.get(held.id)
        if row is None or (row.fence, row.status) != (held.fence, Status.RUNNING):
            raise StaleExecution(held.id)

    def _remove(self, execution_id: ExecutionId) -> None:
        del self._rows[execution_id]
        self._lanes.forget(execution_id)
        for kept in (self._steps, self._entries, self._usage, self._lines, self._dispatches):
            kept.pop(execution_id, None)
        for held in [held for held in self._attempts if held.id == execution_id]:
            del self._attempts[held]

    def _put(self, rows: Iterable[Execution]) -> list[Execution]:
        written = list(rows)
        self._rows.update({row.id: row for row in written})
        return written

    def _add(self, row: Execution, steps: Sequence[Step]) -> None:
        self._rows[row.id] = row
        self._lanes.join(row, standing(row, row.created_at))
        self._steps[row.id] = {step.position: (0, step) for step in steps}
        self._log(row.id, lifecycle.accepted(row))

    def _take(self, key: IdempotencyKey, execution: Execution) -> None:
        since = execution.created_at - KEPT
        for name in [name for name, one in self._keys.items() if one.created_at <= since]:
            del self._keys[name]
        if (key.scope, key.value) in self._keys:
            raise KeyTaken(key.value)
        self._keys[key.scope, key.value] = KeyedStart(
            fingerprint=key.fingerprint,
            execution=execution.id,
            flow=execution.flow,
            created_at=execution.created_at,
        )

    def _apply(self, before: Execution, event: Event, now: datetime) -> Execution:
        after = apply(before, event, now=now)
        _check(after.result)
        if isinstance(event, Claimed):
            self._attempts[Held(after.id, after.fence)] = Attempt(
                number=after.attempt, fence=after.fence, worker=event.owner, started_at=now
            )
        held = Held(before.id, before.fence)
        if (ended := ended_attempt(before, event, after)) and held in self._attempts:
            self._attempts[held] = replace(self._attempts[held], ended_at=now, **ended._asdict())
        self._put([after])
        self._lanes.stand(after, standing(after, now))
        if after.turn.max_running is not None and after.status is not Status.RUNNING:
            self._let_in += self._lanes.admit(after)
        if entry := lifecycle.changed(before, event, after, now):
            self._log(after.id, entry)
        return after

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            with self._lock:
                future.set_result(run())
        except CrewserveError as error:
            future.set_exception(error)
        if let_in := self._let_in:
            self._let_in = []
            self._announce(let_in)
        return future


def _check(*values: object) -> None:
    """Raises: ValueRefused, for what no database would hold."""
    encode_json(values)


def _is_abandoned(row: Execution, lost: Collection[WorkerName], now: datetime) -> bool:
    expired = row.lease_expires_at is not None and row.lease_expires_at < now
    return expired or row.lease_owner in lost
