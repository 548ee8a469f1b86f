"""Which workers there are, on a SQL database."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from crewserve.domain.errors import WorkerNotFound, WorkerStopped
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.worker import (
    FORGOTTEN_AFTER,
    PRESENT,
    SILENT_AFTER,
    Worker,
    WorkerQuery,
    WorkerState,
)
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.tables import executions, workers
from crewserve.storage.upsert import dialect_insert
from crewserve.storage.writer import Writer

WORKER_CHANNEL: Final = "crewserve_worker"

_state: Final = workers.c.state
_IS_PRESENT: Final = _state.in_(sorted(PRESENT))

_HELD = (
    select(executions.c.lease_owner, func.count().label("running"))
    .where(executions.c.lease_expires_at.is_not(None))
    .group_by(executions.c.lease_owner)
    .subquery()
)
_WITH_RUNNING = select(workers, func.coalesce(_HELD.c.running, 0).label("running")).outerjoin(
    _HELD, _HELD.c.lease_owner == workers.c.name
)


class ReadWorkers:
    """The reading side of `WorkerRegistry`."""

    def __init__(self, reader: SqlReader, dialect: Dialect) -> None:
        self._reader = reader
        self._dialect = dialect

    async def present(self) -> Collection[WorkerName]:
        found = await self._reader.rows(select(workers.c.name).where(_IS_PRESENT))
        return [WorkerName(row.name) for row in found]

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        rows = await self._reader.rows(page_statement(query, self._dialect))
        return [_to_worker(row) for row in rows]

    async def worker(self, name: WorkerName) -> Worker:
        rows = await self._reader.rows(_WITH_RUNNING.where(workers.c.name == name))
        if not rows:
            raise WorkerNotFound(name)
        return _to_worker(rows[0])


class SqlWorkers(ReadWorkers):
    """`WorkerRegistry` on whatever database *writer* writes to and *reader* reads."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        super().__init__(reader, dialect)
        self._writer = writer
        statement = dialect_insert(dialect, workers)
        self._beat = statement.on_conflict_do_update(
            index_elements=[workers.c.name],
            set_={
                "memory_bytes": statement.excluded.memory_bytes,
                "heartbeat_at": statement.excluded.heartbeat_at,
                "state": case(
                    (workers.c.drain_requested_at.is_(None), WorkerState.ACTIVE),
                    else_=WorkerState.DRAINING,
                ),
            },
        ).returning(workers.c.drain_requested_at)

    def beat(self, worker: Worker) -> Future[bool]:
        row = _to_row(worker)

        def run(connection: Connection) -> bool:
            return connection.execute(self._beat, row).scalar() is not None

        return self._writer.submit(run)

    def request_drain(self, name: WorkerName, since: datetime | None) -> Future[None]:
        new_state = WorkerState.ACTIVE if since is None else WorkerState.DRAINING
        change = (
            update(workers)
            .where(workers.c.name == name, _state != WorkerState.STOPPED)
            .values(drain_requested_at=since, state=case((_IS_PRESENT, new_state), else_=_state))
        )
        if self._dialect.name == "postgresql":
            change = change.returning(func.pg_notify(WORKER_CHANNEL, name))

        def run(connection: Connection) -> None:
            if connection.execute(change).rowcount != 1:
                known = connection.execute(select(_state).where(workers.c.name == name)).first()
                raise WorkerNotFound(name) if known is None else WorkerStopped(name)

        return self._writer.submit(run)

    def leave(self, name: WorkerName, *, now: datetime) -> Future[None]:
        stopped = {"state": WorkerState.STOPPED, "heartbeat_at": now}
        return self._execute(update(workers).where(workers.c.name == name).values(stopped))

    def call_roll(self, *, gone: Collection[WorkerName], now: datetime) -> Future[None]:
        is_lost = or_(workers.c.heartbeat_at < now - SILENT_AFTER, workers.c.name.in_(sorted(gone)))
        return self._execute(
            update(workers).where(_IS_PRESENT, is_lost).values(state=WorkerState.LOST),
            delete(workers).where(~_IS_PRESENT, workers.c.heartbeat_at < now - FORGOTTEN_AFTER),
        )

    def _execute(self, *statements: Any) -> Future[None]:
        def run(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        return self._writer.submit(run)


def page_statement(query: WorkerQuery, dialect: Dialect) -> "Select[Any]":
    statement = _WITH_RUNNING.order_by(workers.c.name).limit(query.limit)
    if query.states:
        statement = statement.where(_state.in_(sorted(query.states)))
    if query.flow is not None:
        statement = statement.where(_serves(query.flow, dialect))
    if query.after is not None:
        statement = statement.where(workers.c.name > query.after)
    return statement


def _serves(flow: FlowName, dialect: Dialect) -> ColumnElement[bool]:
    is_sqlite = dialect.name == "sqlite"
    elements = func.json_each if is_sqlite else func.json_array_elements_text
    names = elements(workers.c.flows).table_valued("value")
    return exists(select(names.c.value).where(names.c.value == flow))


def _to_row(worker: Worker) -> Mapping[str, Any]:
    return {
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "engine": worker.engine,
        "flows": list(worker.flows),
        "slots": worker.slots,
        "memory_bytes": worker.memory_bytes,
        "started_at": worker.started_at,
        "heartbeat_at": worker.heartbeat_at,
        "state": worker.state,
        "drain_requested_at": worker.drain_requested_at,
    }


def _to_worker(row: "Row[Any]") -> Worker:
    """*row* has all columns of `workers`, and `running`."""
    typed = {"flows": tuple(row.flows), "state": WorkerState(row.state)}
    return Worker(**{**row._asdict(), **typed})
