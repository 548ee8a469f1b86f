"""The writing side on a SQL database."""

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from crewserve.domain.errors import ExecutionActive, ExecutionNotFound, StaleExecution
from crewserve.domain.execution import Driver, Execution, LeaseExpired, apply
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import TERMINAL, Status
from crewserve.ports import Held, lease_lost_reason
from crewserve.storage.mapping import FIXED, to_changes, to_execution, to_row
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import CLAIMABLE, executions
from crewserve.storage.writer import Writer

_GET = select(executions).where(executions.c.id == bindparam("key"))
_REPLACE = update(executions).where(
    executions.c.id == bindparam("key"),
    executions.c.fence == bindparam("old_fence"),
    executions.c.status == bindparam("old_status"),
)
_OLDEST = (
    select(executions.c.id)
    .where(
        CLAIMABLE,
        executions.c.available_at <= bindparam("now"),
        executions.c.flow.in_(bindparam("flows", expanding=True)),
    )
    .order_by(executions.c.available_at, executions.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (  # `apply(execution, Claimed(...))` as one statement, so that two claimers cannot meet
    update(executions)
    .where(executions.c.id.in_(_OLDEST))
    .values(
        status=Status.RUNNING,
        attempt=executions.c.attempt + 1,
        fence=executions.c.fence + 1,
        started_at=bindparam("now"),
        lease_owner=bindparam("owner"),
        lease_expires_at=bindparam("expiry"),
    )
    .returning(*executions.c)
)


class SqlStore:
    """`ExecutionStore` on whatever database *writer* writes to."""

    def __init__(self, writer: Writer, dialect: Dialect) -> None:
        self._writer = writer
        self._insert = Prepared(insert(executions), dialect, executions.c.keys())
        changing = [name for name in executions.c.keys() if name not in FIXED]  # noqa: SIM118
        self._update = Prepared(_REPLACE, dialect, changing)

    def add(self, execution: Execution) -> Future[None]:
        row = to_row(execution)

        def run(connection: Connection) -> None:
            self._insert.run(connection, row)

        return self._writer.submit(run)

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        return self._writer.submit(lambda connection: _get(connection, execution_id))

    def replace(self, before: Execution, after: Execution) -> Future[None]:
        return self._writer.submit(lambda connection: self._replace(connection, before, after))

    def _replace(self, connection: Connection, before: Execution, after: Execution) -> None:
        guard = {"key": before.id, "old_fence": before.fence, "old_status": before.status}
        written = self._update.run(connection, {**to_changes(after), **guard})
        if written.rowcount != 1:
            raise StaleExecution(before.id)

    def claim(
        self,
        owner: WorkerName,
        *,
        flows: Collection[FlowName],
        limit: int,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[list[Execution]]:
        values = {
            "flows": sorted(flows),
            "most": limit,
            "owner": owner,
            "expiry": lease_expires_at,
            "now": now,
        }

        def run(connection: Connection) -> list[Execution]:
            claimed = [to_execution(row) for row in connection.execute(_CLAIM, values)]
            return sorted(claimed, key=lambda execution: execution.id)

        return self._writer.submit(run)

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, bool]]:
        statement = _renew(owner, held, lease_expires_at, now)

        def run(connection: Connection) -> Mapping[Held, bool]:
            return {
                Held(ExecutionId(row.id), row.fence): row.cancel_requested_at is not None
                for row in connection.execute(statement)
            }

        return self._writer.submit(run)

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        statement = _abandoned(lost, limit, now)

        def run(connection: Connection) -> list[Execution]:
            reaped = []
            for row in connection.execute(statement).all():
                before = to_execution(row)
                after = apply(before, LeaseExpired(lease_lost_reason(before, lost)), now=now)
                self._replace(connection, before, after)
                reaped.append(after)
            return reaped

        return self._writer.submit(run)

    def delete(self, execution_id: ExecutionId) -> Future[None]:
        return self._writer.submit(lambda connection: _delete(connection, execution_id))


def _get(connection: Connection, execution_id: ExecutionId) -> Execution:
    row = connection.execute(_GET, {"key": execution_id}).one_or_none()
    if row is None:
        raise ExecutionNotFound(execution_id)
    return to_execution(row)


def _renew(
    owner: WorkerName, held: Collection[Held], lease_expires_at: datetime, now: datetime
) -> Update:
    return (
        update(executions)
        .where(
            tuple_(executions.c.id, executions.c.fence).in_(list(held)),
            executions.c.lease_owner == owner,
            executions.c.lease_expires_at > now,
        )
        .values(lease_expires_at=lease_expires_at)
        .returning(executions.c.id, executions.c.fence, executions.c.cancel_requested_at)
    )


def _abandoned(
    lost: Collection[WorkerName], limit: int, now: datetime
) -> "Select[tuple[object, ...]]":
    gone: ColumnElement[bool] = executions.c.lease_expires_at < now
    if lost:
        owned = executions.c.lease_owner.in_(sorted(lost))
        gone = or_(gone, and_(executions.c.lease_expires_at.is_not(None), owned))
    return select(executions).where(gone).limit(limit).with_for_update(skip_locked=True)


def _delete(connection: Connection, execution_id: ExecutionId) -> None:
    ended = executions.c.status.in_(sorted(TERMINAL))
    waiting_for_worker = and_(
        executions.c.status == Status.PENDING, executions.c.driver == Driver.WORKER
    )
    statement = delete(executions).where(
        executions.c.id == execution_id, or_(ended, waiting_for_worker)
    )
    if connection.execute(statement).rowcount != 1:
        raise ExecutionActive(execution_id, _get(connection, execution_id).status)
