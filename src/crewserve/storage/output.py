"""What executions print and log, on a SQL database."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Dialect,
    Row,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from crewserve.domain.errors import StaleExecution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.output import ALL_LINES, Level, Line, Stream, WantedLines
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status
from crewserve.ports import Held
from crewserve.storage.prepared import Prepared
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.statements import EVENTS_CHANNEL
from crewserve.storage.tables import executions, logs
from crewserve.storage.upsert import dialect_insert
from crewserve.storage.writer import Writer

_FIELDS: Final = tuple(Line.__dataclass_fields__)


class ReadOutput:
    """`OutputReader` on whatever database *reader* reads."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    def output_within(self, realm: Realm) -> "ReadOutput":
        return ReadOutput(self._reader.within(realm))

    async def lines(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: WantedLines = ALL_LINES
    ) -> Sequence[Line]:
        statement = lines_statement(execution_id, after, limit, wanted)
        statement = statement.where(*self._reader.of(execution_id))
        return [_to_line(row) for row in await self._reader.rows(statement)]


class SqlOutput(ReadOutput):
    """`OutputLog`, where *writer* writes to the same database."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        super().__init__(reader)
        self._writer = writer
        self._find_held = Prepared(_held(dialect), dialect)
        insert = dialect_insert(dialect, logs).on_conflict_do_nothing()
        self._insert_line = Prepared(insert, dialect, logs.c.keys())

    def append_lines(self, held: Held, lines: Sequence[Line]) -> Future[None]:
        rows = [
            {"execution": held.id, **{name: getattr(line, name) for name in _FIELDS}}
            for line in lines
        ]

        def run(connection: Connection) -> StaleExecution | None:
            found = self._find_held.run(connection, {"key": held.id, "held_fence": held.fence})
            if found.first() is None:
                return StaleExecution(held.id)
            self._insert_line.run_all(connection, rows)
            return None

        return self._writer.submit(run)


def _held(dialect: Dialect) -> "Select[Any]":
    """Locks the row, so that its attempt cannot end before the commit, and tells other hosts."""
    told: Any = literal_column("1")
    if dialect.name == "postgresql":
        told = func.pg_notify(EVENTS_CHANNEL, cast(executions.c.id, String))
    return (
        select(told)
        .where(
            executions.c.id == bindparam("key"),
            executions.c.fence == bindparam("held_fence"),
            executions.c.status == Status.RUNNING,
        )
        .with_for_update(read=True)
    )


def lines_statement(
    execution_id: ExecutionId, after: int, limit: int, wanted: WantedLines
) -> "Select[Any]":
    """Keyset: the primary key is the order."""
    statement = (
        select(logs)
        .where(logs.c.execution == execution_id, logs.c.sequence > after)
        .order_by(logs.c.sequence)
        .limit(limit)
    )
    if wanted.streams:
        statement = statement.where(logs.c.stream.in_(sorted(wanted.streams)))
    if wanted.levels:
        statement = statement.where(logs.c.level.in_(sorted(wanted.levels)))
    if wanted.step is not None:
        statement = statement.where(logs.c.step == wanted.step)
    return statement


def _to_line(row: "Row[Any]") -> Line:
    fields = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it
    del fields["execution"]
    level = None if row.level is None else Level(row.level)
    return Line(**{**fields, "stream": Stream(row.stream), "level": level})
