"""Writing entries of the event log inside of other transactions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Insert,
    Select,
    String,
    bindparam,
    cast,
    func,
    insert,
    select,
)

from crewserve.domain.errors import StaleExecution
from crewserve.domain.event_log import Entry
from crewserve.domain.ids import ExecutionId
from crewserve.domain.status import Status
from crewserve.ports import Held
from crewserve.storage.prepared import Prepared
from crewserve.storage.statements import EVENTS_CHANNEL
from crewserve.storage.tables import events, executions

_EXECUTION = bindparam("execution", type_=events.c.execution.type)
_FOLLOWING = (
    select(func.coalesce(func.max(events.c.sequence), 0) + 1)
    .where(events.c.execution == _EXECUTION)
    .scalar_subquery()
)
_GIVEN = [name for name in events.c.keys() if name != "sequence"]  # noqa: SIM118  # no mapping
_ROW = select(*(bindparam(name, type_=events.c[name].type) for name in _GIVEN), _FOLLOWING)
_ROW_IF_HELD = (
    _ROW.select_from(executions)
    .where(
        executions.c.id == _EXECUTION,
        executions.c.fence == bindparam("fence", type_=executions.c.fence.type),
        executions.c.status == Status.RUNNING,
    )
    .with_for_update(read=True)
)


class EntryWriter:
    """Numbers each entry on from the last of its execution, whose row is locked meanwhile.

    On PostgreSQL whoever had to wait for the lock may count from an older last, and meets the
    number of another: the writer tries that again.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._insert = Prepared(_add(dialect, _ROW), dialect)
        self._insert_if_held = Prepared(_add(dialect, _ROW_IF_HELD), dialect)

    def write(self, connection: Connection, entries: Iterable[tuple[ExecutionId, Entry]]) -> None:
        """In this order. The caller's transaction has locked the executions, or has made them."""
        rows = [_to_row(execution_id, entry) for execution_id, entry in entries]
        if rows:
            self._insert.run_all(connection, rows)

    def append(self, connection: Connection, held: Held, entries: Sequence[Entry]) -> None:
        """In this order, while that attempt runs. Raises: StaleExecution."""
        rows = [{**_to_row(held.id, entry), "fence": held.fence} for entry in entries]
        if rows and self._insert_if_held.run_all(connection, rows) != len(rows):
            raise StaleExecution(held.id)


def _add(dialect: Dialect, row: Select[Any]) -> Insert:
    """On PostgreSQL it also tells other hosts, once for each execution and commit."""
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
