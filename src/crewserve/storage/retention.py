"""Forgetting what has ended long ago, on a SQL database."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.storage.mapping import to_execution
from crewserve.storage.search import ID_SLACK, first_id
from crewserve.storage.sql_reader import SqlReader, unavailable
from crewserve.storage.tables import events, executions, logs, steps
from crewserve.storage.writer import Writer

_LOCK: Final = int.from_bytes(b"crewkeep")
_TRY: Final = select(func.pg_try_advisory_lock(_LOCK))

INCREMENTAL: Final = 2
"""SQLite's number for a file that can give pages back."""


def _some_of(table: Table) -> Delete:
    """So much of what belongs to some executions; neither database knows DELETE with LIMIT."""
    key = list(table.primary_key.columns)
    of_these = table.c.execution.in_(bindparam("ids", expanding=True))
    chosen = select(*key).where(of_these).limit(bindparam("most")).subquery("chosen")
    return delete(table).where(tuple_(*key).in_(select(*chosen.c)))


MANY: Final = tuple(map(_some_of, (events, logs, steps)))
"""Of what an execution may have much."""

ENDED: Final = executions.c.completed_at.is_not(None)

FORGET: Final = delete(executions).where(
    executions.c.id.in_(bindparam("ids", expanding=True)), ENDED
)


class SqlRetention:
    """`RetentionStore`, where *writer* writes and *reader* reads the database of *engine*."""

    def __init__(self, writer: Writer, reader: SqlReader, engine: Engine) -> None:
        self._writer = writer
        self._reader = reader
        self._locks = engine

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """On SQLite only the process that leads writes."""
        if self._locks.dialect.name == "sqlite":
            yield True
            return
        with _locked(await asyncio.to_thread(_connect, self._locks)) as connection:
            yield bool(await asyncio.to_thread(_scalar, connection, _TRY))

    async def expired(
        self, *, ended_before: datetime | None, beyond: int | None, limit: int
    ) -> Sequence[Execution]:
        found: dict[ExecutionId, Execution] = {}
        if ended_before is not None:
            found |= await self._found(ended_statement(ended_before, limit))
        if beyond is not None and len(found) < limit:
            newest = await self._reader.rows(boundary_statement(beyond))
            if newest:
                found |= await self._found(_oldest(limit, executions.c.id <= newest[0].id))
        return [found[one] for one in sorted(found)[:limit]]

    async def _found(self, statement: "Select[Any]") -> dict[ExecutionId, Execution]:
        return {row.id: to_execution(row) for row in await self._reader.rows(statement)}

    def forget(self, ids: Collection[ExecutionId], *, most: int) -> Future[bool]:
        values = {"ids": list(ids), "most": most}

        def run(connection: Connection) -> bool:
            for statement in MANY:
                if connection.execute(statement, values).rowcount == most:
                    return True
            connection.execute(FORGET, values)
            return False

        return self._writer.submit(run)

    def reclaim(self, *, pages: int) -> Future[bool]:
        return self._writer.submit(lambda connection: _reclaim(connection, pages))


def _reclaim(connection: Connection, pages: int) -> bool:
    if connection.dialect.name != "sqlite" or _pragma(connection, "auto_vacuum") != INCREMENTAL:
        return False
    connection.exec_driver_sql(f"PRAGMA incremental_vacuum({pages})").close()
    return _pragma(connection, "freelist_count") > 0


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _connect(engine: Engine) -> Connection:
    with unavailable():
        return engine.connect()


def _scalar(connection: Connection, statement: "Select[Any]") -> Any:
    with unavailable():
        return connection.execute(statement).scalar()


@contextmanager
def _locked(connection: Connection) -> Iterator[Connection]:
    """The lock ends with the connection, which therefore does not go back to the pool."""
    try:
        yield connection
    finally:
        connection.invalidate()
        connection.close()


def ended_statement(before: datetime, limit: int) -> "Select[Any]":
    """Ids tell when they were accepted, so what began later is not looked at."""
    early = executions.c.id < first_id(before + ID_SLACK)
    return _oldest(limit, early, executions.c.completed_at < before)


def boundary_statement(beyond: int) -> "Select[Any]":
    """The newest that ended and is too much, by age. Reads as many as are kept."""
    ended = select(executions.c.id).where(ENDED)
    return ended.order_by(executions.c.id.desc()).offset(beyond).limit(1)


def _oldest(limit: int, *conditions: ColumnElement[bool]) -> "Select[Any]":
    """In the order of the primary key: among the oldest nearly all have ended."""
    found = select(executions).where(ENDED, *conditions)
    return found.order_by(executions.c.id).limit(limit)
