"""Which idempotency keys have started what."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Insert, Row, Select, bindparam, delete, select, tuple_

from crewserve.domain.errors import KeyTaken
from crewserve.domain.execution import Execution
from crewserve.domain.idempotency import KEPT, IdempotencyKey, KeyedStart
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import idempotency_keys
from crewserve.storage.upsert import dialect_insert

FORGOTTEN_AT_ONCE: Final = 10
"""Each keyed start adds one row and removes so many old ones, so that these stay few."""

_COLUMNS = idempotency_keys.c

FIND = select(idempotency_keys).where(
    _COLUMNS.scope == bindparam("whose"), _COLUMNS.key == bindparam("value")
)

_FORGOTTEN = (
    select(_COLUMNS.scope, _COLUMNS.key)
    .where(_COLUMNS.created_at <= bindparam("forgotten"))
    .order_by(_COLUMNS.created_at)
    .limit(FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
    .cte("forgotten_keys")  # a plain subquery PostgreSQL may run again; see `statements`
)
FORGET = delete(idempotency_keys).where(
    tuple_(_COLUMNS.scope, _COLUMNS.key).in_(select(_FORGOTTEN.c.scope, _FORGOTTEN.c.key))
)


class KeyWriter:
    """Records keys, in whatever transaction it is given."""

    def __init__(self, dialect: Dialect) -> None:
        self._insert = Prepared(_insert(dialect), dialect, _COLUMNS.keys())

    def record(self, connection: Connection, key: IdempotencyKey, execution: Execution) -> None:
        """Before *execution* itself is written. Raises: KeyTaken."""
        forgotten = {"forgotten": execution.created_at - KEPT}
        written = self._insert.run(connection, {**_to_row(key, execution), **forgotten})
        if written.first() is None:
            raise KeyTaken(key.value)
        connection.execute(FORGET, forgotten)


def find(key: IdempotencyKey) -> "Select[Any]":
    return FIND.params(whose=key.scope, value=key.value)


def to_keyed_start(row: "Row[Any]") -> KeyedStart:
    """*row* has all columns of `idempotency_keys`."""
    return KeyedStart(
        fingerprint=row.fingerprint,
        execution=ExecutionId(row.execution),
        flow=FlowName(row.flow),
        created_at=row.created_at,
    )


def _to_row(key: IdempotencyKey, execution: Execution) -> Mapping[str, Any]:
    return {
        "scope": key.scope,
        "key": key.value,
        "fingerprint": key.fingerprint,
        "execution": execution.id,
        "flow": execution.flow,
        "created_at": execution.created_at,
    }


def _insert(dialect: Dialect) -> Insert:
    """No row comes back when the key is taken; one that is too old is taken over.

    Of two that meet, in whatever processes, the second waits for the first one's commit.
    """
    statement = dialect_insert(dialect, idempotency_keys)
    primary = idempotency_keys.primary_key.columns.keys()
    return statement.on_conflict_do_update(
        index_elements=primary,
        set_={name: new for name, new in statement.excluded.items() if name not in primary},
        where=_COLUMNS.created_at <= bindparam("forgotten"),
    ).returning(_COLUMNS.key)
