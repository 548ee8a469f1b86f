"""Writing entries of the event log inside of other transactions."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, String, bindparam, cast, func, insert, select

from crewserve.domain.event_log import Entry
from crewserve.domain.ids import ExecutionId
from crewserve.storage.prepared import Prepared
from crewserve.storage.statements import EVENTS_CHANNEL
from crewserve.storage.tables import events

_GIVEN = [name for name in events.c.keys() if name != "sequence"]  # noqa: SIM118  # no mapping


class EntryWriter:
    """Numbers each entry on from the last of its execution.

    The caller's transaction has locked the execution's row, or has made it.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._insert = Prepared(_add(dialect), dialect)

    def write(self, connection: Connection, entries: Iterable[tuple[ExecutionId, Entry]]) -> None:
        """In this order."""
        rows = [_to_row(execution_id, entry) for execution_id, entry in entries]
        if rows:
            self._insert.run_all(connection, rows)


def _add(dialect: Dialect) -> Insert:
    """On PostgreSQL it also tells other hosts, once for each execution and commit."""
    execution = bindparam("execution", type_=events.c.execution.type)
    last = select(func.coalesce(func.max(events.c.sequence), 0))
    following = last.where(events.c.execution == execution).scalar_subquery() + 1
    given = (bindparam(name, type_=events.c[name].type) for name in _GIVEN)
    row = select(*given, following)
    statement = insert(events).from_select([*_GIVEN, "sequence"], row)
    if dialect.name != "postgresql":
        return statement
    return statement.returning(func.pg_notify(EVENTS_CHANNEL, cast(events.c.execution, String)))


def _to_row(execution_id: ExecutionId, entry: Entry) -> Mapping[str, Any]:
    return {
        "execution": execution_id,
        "type": entry.type,
        "channel": entry.channel,
        "at": entry.at,
        "step": entry.step,
        "id": entry.id,
        "parent": entry.parent,
        "data": entry.data,
    }
