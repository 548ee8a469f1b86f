"""A store that tells what is written to it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Dialect

from crewserve.domain.execution import Cancel, Event, Execution, Raised
from crewserve.domain.flow_control import NO_CONTROL, FlowControl
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.realm import Realm
from crewserve.domain.step import Step
from crewserve.observability.metrics import Metrics
from crewserve.ports import Held
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.writer import Writer

T = TypeVar("T")


class MeteredStore(SqlStore):
    """Whoever writes, and whatever for: what was committed is counted once, where it was."""

    def __init__(
        self,
        writer: Writer,
        dialect: Dialect,
        tell: Callable[[ExecutionId], None],
        metrics: Metrics,
    ) -> None:
        super().__init__(writer, dialect, tell)
        self._metrics = metrics

    def add(
        self,
        execution: Execution,
        steps: Sequence[Step] = (),
        key: IdempotencyKey | None = None,
        control: FlowControl = NO_CONTROL,
    ) -> Future[Sequence[ExecutionId]]:
        added = super().add(execution, steps, key, control)
        return _then(added, lambda _: self._metrics.accepted(execution))

    def change(
        self,
        execution_id: ExecutionId,
        event: Event,
        *,
        now: datetime,
        fence: int | None = None,
        realm: Realm | None = None,
    ) -> Future[Execution]:
        def count(after: Execution) -> None:
            self._metrics.changed(after)
            if isinstance(event, Raised):
                self._metrics.raised(after)

        changed = super().change(execution_id, event, now=now, fence=fence, realm=realm)
        return _then(changed, count)

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
        claimed = super().claim(
            owner, flows=flows, limit=limit, lease_expires_at=lease_expires_at, now=now, only=only
        )
        return _then(claimed, _each(self._metrics.started))

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        def count(after: Execution) -> None:
            self._metrics.abandoned(after)
            self._metrics.changed(after)

        return _then(super().reap(lost=lost, limit=limit, now=now), _each(count))

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, Cancel | None]]:
        renewed = super().renew(owner, held, lease_expires_at=lease_expires_at, now=now)
        return _then(renewed, lambda kept: self._metrics.lost_leases(len(set(held) - kept.keys())))


def _each(count: Callable[[Execution], None]) -> Callable[[Iterable[Execution]], None]:
    def count_all(executions: Iterable[Execution]) -> None:
        for execution in executions:
            count(execution)

    return count_all


def _then(future: "Future[T]", count: Callable[[T], None]) -> "Future[T]":
    """Called after the commit, in the writer's thread."""

    def committed(done: "Future[T]") -> None:
        if not done.cancelled() and done.exception() is None:
            count(done.result())

    future.add_done_callback(committed)
    return future
