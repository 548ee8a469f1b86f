"""The reading side on a SQL database."""

import asyncio
import logging
import sqlite3
from collections import namedtuple
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Self

from sqlalchemy import Engine, Row, Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from crewserve.domain.errors import (
    ExecutionNotFound,
    NotReady,
    StepNotRecorded,
    StorageUnavailable,
)
from crewserve.domain.execution import Execution, is_in
from crewserve.domain.flow_control import QueueState
from crewserve.domain.idempotency import IdempotencyKey, KeyedStart
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.domain.query import EPOCH, Bar, Count, ExecutionFilter, ExecutionQuery, Grouping
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status
from crewserve.domain.step import Attempt, Step
from crewserve.domain.usage import Spent, UsageGroup, UsageGrouping
from crewserve.storage import keys, search, usage, usage_reports
from crewserve.storage.mapping import to_attempt, to_execution, to_step
from crewserve.storage.positions import PAUSED, QUEUES, before, to_queues
from crewserve.storage.prepared import Prepared
from crewserve.storage.realms import Conditions, belongs_to_realm, in_realm
from crewserve.storage.schema import HEAD, VERSION
from crewserve.storage.tables import attempts, executions, steps
from crewserve.storage.telling import error_of, told

log = logging.getLogger(__name__)

OWNERS = (
    select(executions.c.lease_owner).where(executions.c.lease_expires_at.is_not(None)).distinct()
)

Statement = Select[Any]

READERS: Final = 8
"""Threads that read, and so connections that do."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Tell whatever the database says as one of our own errors."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        log.error("The database refused a read: %s", told(error))
        shown = error_of(error) if isinstance(error, DBAPIError) else StorageUnavailable()
        raise shown from error


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


class SqlReader:
    """`ExecutionReader` on any SQL database: each read happens in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="storage-reader")
        self._realm: Realm | None = None

    def within(self, realm: Realm) -> Self:
        scoped = copy(self)
        scoped._realm = realm  # noqa: SLF001  # its own
        return scoped

    def of(self, execution_id: ExecutionId) -> Conditions:
        """What a row that belongs to that execution must fulfil as well."""
        return belongs_to_realm(execution_id, self._realm)

    def close(self) -> None:
        """Wait for reads under way."""
        self._threads.shutdown()

    async def get(self, execution_id: ExecutionId) -> Execution:
        statement = select(executions).where(executions.c.id == execution_id)
        rows = await self.rows(statement.where(*in_realm(self._realm)))
        if not rows:
            raise ExecutionNotFound(execution_id)
        return to_execution(rows[0])

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        mine = replace(query, realm=self._realm)
        return [to_execution(row) for row in await self.rows(search.page(mine))]

    async def count(self, found: ExecutionFilter, by: Sequence[Grouping]) -> Sequence[Count]:
        rows = await self.rows(search.count(replace(found, realm=self._realm), by))
        return [Count(tuple(row[:-1]), row[-1]) for row in rows]

    async def bars(self, found: ExecutionFilter, interval: timedelta) -> Sequence[Bar]:
        mine = replace(found, realm=self._realm)
        rows = await self.rows(search.bars(mine, interval, self._engine.dialect))
        return sorted(
            Bar(EPOCH + row.bar * interval, Status(row.status), row.number) for row in rows
        )

    async def steps(self, execution_id: ExecutionId) -> Sequence[Step]:
        statement = select(steps).where(steps.c.execution == execution_id, *self.of(execution_id))
        return [to_step(row) for row in await self.rows(statement.order_by(steps.c.position))]

    async def step_page(
        self, execution_id: ExecutionId, *, after: int, limit: int
    ) -> Sequence[Step]:
        statement = step_page_statement(execution_id, after, limit)
        rows = await self.rows(statement.where(*self.of(execution_id)))
        return [to_step(row) for row in rows]

    async def step(self, execution_id: ExecutionId, position: int) -> Step:
        statement = select(steps).where(steps.c.execution == execution_id, *self.of(execution_id))
        rows = await self.rows(statement.where(steps.c.position == position))
        if not rows:
            raise StepNotRecorded(execution_id, position)
        return to_step(rows[0])

    async def attempts(self, execution_id: ExecutionId) -> Sequence[Attempt]:
        statement = select(attempts).where(attempts.c.execution == execution_id)
        statement = statement.where(*self.of(execution_id))
        return [to_attempt(row) for row in await self.rows(statement.order_by(attempts.c.fence))]

    async def usage(self, execution_id: ExecutionId) -> Sequence[Spent]:
        statement = usage.of_execution(execution_id).where(*self.of(execution_id))
        return [usage.to_spent(row) for row in await self.rows(statement)]

    async def usage_by(
        self, found: ExecutionFilter, by: Sequence[UsageGrouping], limit: int
    ) -> Sequence[UsageGroup]:
        mine = replace(found, realm=self._realm)
        statement = usage_reports.grouped(mine, by, limit, self._engine.dialect)
        return [usage_reports.to_group(row, by) for row in await self.rows(statement)]

    async def started_with(self, key: IdempotencyKey) -> KeyedStart | None:
        rows = await self.rows(keys.find(key))
        return keys.to_keyed_start(rows[0]) if rows else None

    async def queues(self) -> Sequence[QueueState]:
        counted = QUEUES.where(*in_realm(self._realm))
        return to_queues(await self.rows(counted), await self.rows(PAUSED))

    async def position(self, execution_id: ExecutionId, *, limit: int) -> int | None:
        statement = before(execution_id, limit).where(*self.of(execution_id))
        rows = await self.rows(statement)
        return None if not rows or rows[0].before >= limit else int(rows[0].before) + 1

    async def owners(self) -> Collection[WorkerName]:
        return {WorkerName(row.lease_owner) for row in await self.rows(OWNERS)}

    async def check(self) -> None:
        """Raises: StorageUnavailable, when it does not answer; NotReady."""
        [row] = await self.rows(VERSION)
        if row.version_num != HEAD:
            reason = f"It has schema {row.version_num}, and this version needs {HEAD}"
            raise NotReady(reason, retry_after=timedelta(seconds=5))

    async def rows(self, statement: Statement) -> "Sequence[Row[Any]]":
        """Raises: StorageUnavailable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, statement)

    def _read(self, statement: Statement) -> "Sequence[Row[Any]]":
        with unavailable():
            try:
                return self._fetch(statement)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._fetch(statement)  # the server was restarted, so on a new connection

    def _fetch(self, statement: Statement) -> "Sequence[Row[Any]]":
        with self._engine.connect() as connection:
            return connection.execute(statement).all()


class SqliteReader(SqlReader):
    """On SQLite a read by primary key takes less time than handing it to a thread.

    So it happens on the event loop, on a connection of its own.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._by_key = _ByKey(engine)

    def close(self) -> None:
        self._by_key.close()
        super().close()

    async def get(self, execution_id: ExecutionId) -> Execution:
        with unavailable():
            row = self._by_key.read(execution_id)
        found = None if row is None else to_execution(row)
        if found is None or not is_in(found, self._realm):
            raise ExecutionNotFound(execution_id)
        return found


def step_page_statement(execution_id: ExecutionId, after: int, limit: int) -> Statement:
    """Keyset as well. A hundred states may be huge, so none is read."""
    return (
        select(*(column for column in steps.c if column is not steps.c.state))
        .where(steps.c.execution == execution_id, steps.c.position > after)
        .order_by(steps.c.position)
        .limit(limit)
    )
