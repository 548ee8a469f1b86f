"""The writing side on a SQL database."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Dialect

from crewserve.domain.errors import ExecutionActive, ExecutionNotFound, StaleExecution
from crewserve.domain.execution import (
    Cancel,
    Event,
    Execution,
    HandedBack,
    LeaseExpired,
    apply,
)
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.domain.step import Step
from crewserve.ports import CLOCK_SKEW, Held, ended_attempt, lease_lost_reason
from crewserve.storage import statements
from crewserve.storage.keys import KeyWriter
from crewserve.storage.mapping import (
    FIXED,
    RECORDED,
    to_attempt_row,
    to_cancel,
    to_changes,
    to_execution,
    to_row,
    to_step_row,
)
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import steps as steps_table
from crewserve.storage.writer import Writer


class SqlStore:
    """`ExecutionStore` on whatever database *writer* writes to."""

    def __init__(self, writer: Writer, dialect: Dialect) -> None:
        self._writer = writer
        changing = [name for name in RECORDED if name not in FIXED]
        begun = ["execution", "fence", "number", "worker", "started_at"]
        self._keys = KeyWriter(dialect)
        self._insert = Prepared(statements.add(dialect), dialect, RECORDED)
        self._update = Prepared(statements.replace(dialect), dialect, changing)
        self._begin_attempt = Prepared(statements.BEGIN_ATTEMPT, dialect, begun)
        self._end_attempt = Prepared(statements.END_ATTEMPT, dialect)
        self._forget_steps = Prepared(statements.FORGET_STEPS, dialect)
        self._add_step = Prepared(statements.add_step(dialect), dialect, steps_table.c.keys())
        self._record_step = Prepared(statements.record_step(dialect), dialect)

    def add(
        self, execution: Execution, steps: Sequence[Step] = (), key: IdempotencyKey | None = None
    ) -> Future[None]:
        row = to_row(execution)
        recorded = [to_step_row(Held(execution.id, 0), step) for step in steps]

        def run(connection: Connection) -> None:
            if key is not None:
                self._keys.record(connection, key, execution)
            self._insert.run(connection, row)
            for step in recorded:
                self._add_step.run(connection, step)

        return self._writer.submit(run)

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        return self._writer.submit(lambda connection: _get(connection, execution_id))

    def change(
        self,
        execution_id: ExecutionId,
        event: Event,
        *,
        now: datetime,
        fence: int | None = None,
    ) -> Future[Execution]:
        def run(connection: Connection) -> Execution:
            before = _get(connection, execution_id)
            if fence is not None and (before.fence, before.status) != (fence, Status.RUNNING):
                raise StaleExecution(execution_id)
            return self._apply(connection, before, event, now)

        return self._writer.submit(run)

    def _apply(
        self, connection: Connection, before: Execution, event: Event, now: datetime
    ) -> Execution:
        after = apply(before, event, now=now)
        guard = {"key": before.id, "old_fence": before.fence, "old_status": before.status}
        written = self._update.run(connection, {**to_changes(after), **guard})
        if written.rowcount != 1:
            raise StaleExecution(before.id)
        if after.fence > before.fence:
            self._begin_attempt.run(connection, to_attempt_row(after))
        if ended := ended_attempt(before, event, after):
            values = {"key": before.id, "held_fence": before.fence, "ended": now}
            values |= {"how": ended.outcome, "why": ended.code, "said": ended.error}
            self._end_attempt.run(connection, values)
        return after

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
        statement = statements.CLAIM if only is None else statements.CLAIM_ONLY
        values: dict[str, Any] = {
            "flows": sorted(flows),
            "most": limit,
            "owner": owner,
            "expiry": lease_expires_at,
            "now": now,
            "due": now,
        }
        if only is not None:
            values |= {"only": list(only), "due": now + CLOCK_SKEW}

        def run(connection: Connection) -> list[Execution]:
            rows = connection.execute(statement, values)
            claimed = [to_execution(row) for row in rows]
            for execution in claimed:
                self._begin_attempt.run(connection, to_attempt_row(execution))
            return sorted(claimed, key=lambda execution: execution.id)

        return self._writer.submit(run)

    def hand_back(
        self, owner: WorkerName, *, but: Collection[Held], now: datetime
    ) -> Future[list[Execution]]:
        def run(connection: Connection) -> list[Execution]:
            rows = connection.execute(statements.CLAIMED, {"owner": owner}).all()
            return [
                self._apply(connection, claimed, HandedBack(), now)
                for claimed in map(to_execution, rows)
                if Held(claimed.id, claimed.fence) not in but
            ]

        return self._writer.submit(run)

    def dispatch(
        self, *, pauses: Sequence[timedelta], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        statement = statements.dispatch(pauses, limit, now)

        def run(connection: Connection) -> list[Execution]:
            found = [to_execution(row) for row in connection.execute(statement)]
            return sorted(found, key=_age)

        return self._writer.submit(run)

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, Cancel | None]]:
        statement = statements.renew(owner, held, lease_expires_at, now)

        def run(connection: Connection) -> Mapping[Held, Cancel | None]:
            return {
                Held(ExecutionId(row.id), row.fence): to_cancel(row)
                for row in connection.execute(statement)
            }

        return self._writer.submit(run)

    def record(self, held: Held, step: Step, *, replaces: bool = True) -> Future[None]:
        row = to_step_row(held, step)

        def run(connection: Connection) -> None:
            if self._record_step.run(connection, row).rowcount != 1:
                raise StaleExecution(held.id)
            if replaces:
                self._forget_steps.run(connection, row)

        return self._writer.submit(run)

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        statement = statements.abandoned(lost, limit, now)

        def run(connection: Connection) -> list[Execution]:
            reaped = []
            for row in connection.execute(statement).all():
                before = to_execution(row)
                event = LeaseExpired(lease_lost_reason(before, lost))
                reaped.append(self._apply(connection, before, event, now))
            return reaped

        return self._writer.submit(run)

    def delete(self, execution_id: ExecutionId) -> Future[None]:
        return self._writer.submit(lambda connection: _delete(connection, execution_id))


def _age(execution: Execution) -> tuple[datetime, ExecutionId]:
    return execution.available_at, execution.id


def _get(connection: Connection, execution_id: ExecutionId) -> Execution:
    row = connection.execute(statements.GET, {"key": execution_id}).one_or_none()
    if row is None:
        raise ExecutionNotFound(execution_id)
    return to_execution(row)


def _delete(connection: Connection, execution_id: ExecutionId) -> None:
    if connection.execute(statements.DELETE, {"key": execution_id}).rowcount != 1:
        raise ExecutionActive(execution_id, _get(connection, execution_id).status)
