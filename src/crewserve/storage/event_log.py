"""The event log on a SQL database."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Dialect, Row, Select, bindparam, func, select

from crewserve.domain.event_log import ALL, Channel, Entry, Wanted, spent
from crewserve.domain.ids import ExecutionId
from crewserve.domain.realm import Realm
from crewserve.ports import Held
from crewserve.storage.entries import EntryWriter
from crewserve.storage.prepared import Prepared
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.tables import events
from crewserve.storage.usage import UsageWriter
from crewserve.storage.writer import Writer

_LAST = select(func.coalesce(func.max(events.c.sequence), 0)).where(
    events.c.execution == bindparam("execution")
)


class ReadEvents:
    """`EventReader` on whatever database *reader* reads."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    def log_within(self, realm: Realm) -> "ReadEvents":
        return ReadEvents(self._reader.within(realm))

    async def events(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: Wanted = ALL
    ) -> Sequence[Entry]:
        statement = events_statement(execution_id, after, limit, wanted)
        statement = statement.where(*self._reader.of(execution_id))
        return [_to_entry(row) for row in await self._reader.rows(statement)]


class SqlEventLog(ReadEvents):
    """`EventLog`, where *writer* writes to the same database."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        super().__init__(reader)
        self._writer = writer
        self._entries = EntryWriter(dialect)
        self._usage = UsageWriter(dialect)
        self._last = Prepared(_LAST, dialect)

    def append(
        self,
        held: Held,
        entries: Sequence[Entry],
        *,
        again: bool = False,
        numbered: bool = True,
    ) -> Future[int | None]:
        def run(connection: Connection) -> int | None:
            new = _missing(connection, held.id, entries) if again else entries
            self._entries.append(connection, held, new)
            self._usage.add(connection, held.id, spent(new))
            if not numbered:
                return None
            last: int = self._last.run(connection, {"execution": held.id}).scalar_one()
            return last

        return self._writer.submit(run)


def events_statement(
    execution_id: ExecutionId, after: int, limit: int, wanted: Wanted
) -> Select[Any]:
    """Keyset: the primary key is the order."""
    statement = (
        select(events)
        .where(events.c.execution == execution_id, events.c.sequence > after)
        .order_by(events.c.sequence)
        .limit(limit)
    )
    if wanted.channels:
        statement = statement.where(events.c.channel.in_(sorted(wanted.channels)))
    if wanted.types:
        statement = statement.where(events.c.type.in_(sorted(wanted.types)))
    return statement


def _missing(
    connection: Connection, execution_id: ExecutionId, entries: Sequence[Entry]
) -> Sequence[Entry]:
    known = select(events.c.id).where(events.c.execution == execution_id, events.c.id.is_not(None))
    ids = set(connection.execute(known).scalars())
    return [entry for entry in entries if entry.id not in ids]


def _to_entry(row: Row[Any]) -> Entry:
    fields = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it
    del fields["execution"]
    return Entry(**{**fields, "channel": Channel(row.channel)})
