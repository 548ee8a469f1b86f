"""The reading side on a SQL database."""

import asyncio
import logging
import sqlite3
from collections import namedtuple
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from crewserve.domain.errors import ExecutionNotFound, StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.ports import ExecutionQuery
from crewserve.storage.mapping import to_execution
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import executions

log = logging.getLogger(__name__)

_OWNERS = select(executions.c.lease_owner).where(executions.c.lease_expires_at.is_not(None))


@contextmanager
def unavailable() -> Iterator[None]:
    """Tell whatever the database says as `StorageUnavailable`."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        log.error("The database refused a read: %s", error)
        raise StorageUnavailable from error


class _ByKey:
    """One row by its id."""

    def __init__(self, engine: Engine) -> None:
        statement = select(executions).where(executions.c.id == bindparam("key"))
        self._select = Prepared(statement, engine.dialect)
        self._connection = engine.raw_connection()
        self._decoders = [
            column.type.dialect_impl(engine.dialect).result_processor(engine.dialect, None)
            for column in executions.c
        ]
        row_class: Any = namedtuple  # whose fields are the table's, which no checker can know
        self._make_row = row_class("ExecutionRow", executions.c.keys())._make

    def close(self) -> None:
        self._connection.close()

    def read(self, execution_id: ExecutionId) -> Any:
        """The row, or None."""
        cursor = self._connection.cursor()
        cursor.execute(self._select.sql, self._select.bound({"key": execution_id}))
        values = cursor.fetchone()
        cursor.close()
        if values is None:
            return None
        return self._make_row(
            decode(value) if decode else value
            for decode, value in zip(self._decoders, values, strict=True)
        )


class SqliteReader:
    """`ExecutionReader` on SQLite.

    A read by primary key takes less time than handing it to a thread, so it happens on the event
    loop, on a connection of its own; everything that may read many rows goes to a thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_key = _ByKey(engine)

    def close(self) -> None:
        self._by_key.close()

    async def get(self, execution_id: ExecutionId) -> Execution:
        with unavailable():
            row = self._by_key.read(execution_id)
        if row is None:
            raise ExecutionNotFound(execution_id)
        return to_execution(row)

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        return await asyncio.to_thread(self._page, page_statement(query))

    def _page(self, statement: "Select[tuple[object, ...]]") -> Sequence[Execution]:
        with unavailable(), self._engine.connect() as connection:
            return [to_execution(row) for row in connection.execute(statement)]

    async def owners(self) -> Collection[WorkerName]:
        return await asyncio.to_thread(self._owners)

    def _owners(self) -> Collection[WorkerName]:
        with unavailable(), self._engine.connect() as connection:
            return {WorkerName(owner) for owner in connection.execute(_OWNERS.distinct()).scalars()}


def page_statement(query: ExecutionQuery) -> "Select[tuple[object, ...]]":
    """Keyset: any page costs what the first one costs, because ids sort by time."""
    statement = select(executions).order_by(executions.c.id.desc()).limit(query.limit)
    if query.flow is not None:
        statement = statement.where(executions.c.flow == query.flow)
    if query.status is not None:
        statement = statement.where(executions.c.status == query.status)
    if query.before is not None:
        statement = statement.where(executions.c.id < query.before)
    return statement
