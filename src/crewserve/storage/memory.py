"""The same ports in a dict: for tests, and to show what a store must do."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import TypeVar

from crewserve.domain.errors import (
    CrewserveError,
    ExecutionActive,
    ExecutionNotFound,
    StaleExecution,
)
from crewserve.domain.execution import Claimed, Driver, Execution, LeaseExpired, apply
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.ports import ExecutionQuery, Held, lease_lost_reason

T = TypeVar("T")


class MemoryStore:
    """`ExecutionStore` and `ExecutionReader` of one process; nothing outlives it."""

    def __init__(self) -> None:
        self._rows: dict[ExecutionId, Execution] = {}
        self._lock = Lock()

    def add(self, execution: Execution) -> Future[None]:
        return self._transaction(lambda: self._add(execution))

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        return self._transaction(lambda: self._find(execution_id))

    def replace(self, before: Execution, after: Execution) -> Future[None]:
        return self._transaction(lambda: self._replace(before, after))

    def claim(
        self,
        owner: WorkerName,
        *,
        flows: Collection[FlowName],
        limit: int,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[list[Execution]]:
        def run() -> list[Execution]:
            ready = [row for row in self._rows.values() if _is_claimable(row, flows, now)]
            ready.sort(key=lambda row: (row.available_at, row.id))
            event = Claimed(owner, lease_expires_at)
            return self._put([apply(row, event, now=now) for row in ready[:limit]])

        return self._transaction(run)

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, bool]]:
        def run() -> Mapping[Held, bool]:
            mine = [
                row
                for row in self._rows.values()
                if Held(row.id, row.fence) in held
                and row.lease_owner == owner
                and row.lease_expires_at is not None
                and row.lease_expires_at > now
            ]
            self._put([replace(row, lease_expires_at=lease_expires_at) for row in mine])
            return {Held(row.id, row.fence): row.cancel_requested_at is not None for row in mine}

        return self._transaction(run)

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        def run() -> list[Execution]:
            gone = [row for row in self._rows.values() if _is_abandoned(row, lost, now)]
            return self._put(
                [
                    apply(row, LeaseExpired(lease_lost_reason(row, lost)), now=now)
                    for row in gone[:limit]
                ]
            )

        return self._transaction(run)

    def delete(self, execution_id: ExecutionId) -> Future[None]:
        def run() -> None:
            row = self._find(execution_id)
            unclaimed = row.status is Status.PENDING and row.driver is Driver.WORKER
            if not row.status.is_terminal and not unclaimed:
                raise ExecutionActive(execution_id, row.status)
            del self._rows[execution_id]

        return self._transaction(run)

    async def get(self, execution_id: ExecutionId) -> Execution:
        return self._find(execution_id)

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        rows = sorted(self._rows.values(), key=lambda row: row.id, reverse=True)
        return [row for row in rows if _matches(row, query)][: query.limit]

    async def owners(self) -> Collection[WorkerName]:
        return {row.lease_owner for row in self._rows.values() if row.lease_owner is not None}

    def _find(self, execution_id: ExecutionId) -> Execution:
        if execution_id not in self._rows:
            raise ExecutionNotFound(execution_id)
        return self._rows[execution_id]

    def _put(self, rows: Iterable[Execution]) -> list[Execution]:
        written = list(rows)
        self._rows.update({row.id: row for row in written})
        return written

    def _add(self, row: Execution) -> None:
        self._rows[row.id] = row

    def _replace(self, before: Execution, after: Execution) -> None:
        row = self._rows.get(before.id)
        if row is None or (row.fence, row.status) != (before.fence, before.status):
            raise StaleExecution(before.id)
        self._put([after])

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            with self._lock:
                future.set_result(run())
        except CrewserveError as error:
            future.set_exception(error)
        return future


def _is_claimable(row: Execution, flows: Collection[FlowName], now: datetime) -> bool:
    mine = row.driver is Driver.WORKER and row.flow in flows
    return mine and row.status is Status.PENDING and row.available_at <= now


def _is_abandoned(row: Execution, lost: Collection[WorkerName], now: datetime) -> bool:
    expired = row.lease_expires_at is not None and row.lease_expires_at < now
    return expired or row.lease_owner in lost


def _matches(row: Execution, query: ExecutionQuery) -> bool:
    return (
        (query.flow is None or row.flow == query.flow)
        and (query.status is None or row.status is query.status)
        and (query.before is None or row.id < query.before)
    )
