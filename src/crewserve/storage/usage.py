"""What executions used, added up where their events are written."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Dialect,
    Insert,
    Row,
    Select,
    Update,
    bindparam,
    case,
    func,
    select,
    update,
)

from crewserve.domain.ids import ExecutionId
from crewserve.domain.usage import NOTHING, Spender, Spent, Usage
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import executions, usage
from crewserve.storage.upsert import dialect_insert

AMOUNTS: Final = tuple(name for name in Usage.__dataclass_fields__ if name != "cost")
"""Names of columns, here and of executions; those of executions are null until something is used.

The cost is null when it is not known, and nothing that is added makes it known.
"""

MAX_SPENDERS: Final = 1000


class UsageWriter:
    """Part of the transaction that writes the events."""

    def __init__(self, dialect: Dialect) -> None:
        self._add = Prepared(_add(dialect), dialect, usage.c.keys())
        self._add_to_total = Prepared(_ADD_TO_TOTAL, dialect)

    def add(
        self, connection: Connection, execution_id: ExecutionId, found: Mapping[Spender, Usage]
    ) -> None:
        """The caller's transaction holds the execution."""
        if not found:
            return
        rows = [
            {"execution": execution_id, **by._asdict(), **_amounts(one)}
            for by, one in found.items()
        ]
        self._add.run_all(connection, rows)
        total = sum(found.values(), NOTHING)
        values = {f"more_{name}": amount for name, amount in _amounts(total).items()}
        self._add_to_total.run(connection, {"key": execution_id, **values})


def _amounts(one: Usage) -> Mapping[str, int | None]:
    return {"cost": one.cost, **{name: getattr(one, name) for name in AMOUNTS}}


def _add(dialect: Dialect) -> Insert:
    insert = dialect_insert(dialect, usage)
    summed = {name: usage.c[name] + insert.excluded[name] for name in (*AMOUNTS, "cost")}
    return insert.on_conflict_do_update(
        index_elements=usage.primary_key.columns.keys(), set_=summed
    )


def _add_to_total_statement() -> Update:
    more = {
        name: bindparam(f"more_{name}", type_=executions.c[name].type)
        for name in (*AMOUNTS, "cost")
    }
    is_first = executions.c.model_calls.is_(None)
    cost = case((is_first, more["cost"]), else_=executions.c.cost + more["cost"])
    sums = {name: func.coalesce(executions.c[name], 0) + more[name] for name in AMOUNTS}
    statement = update(executions).where(executions.c.id == bindparam("key"))
    return statement.values(**sums, cost=cost)


_ADD_TO_TOTAL: Final = _add_to_total_statement()


def of_execution(execution_id: ExecutionId) -> Select[Any]:
    """See `ExecutionReader.usage`."""
    return (
        select(usage)
        .where(usage.c.execution == execution_id)
        .order_by(usage.c.step, usage.c.agent, usage.c.model)
        .limit(MAX_SPENDERS)
    )


def to_usage(row: Row[Any]) -> Usage:
    """*row* has the columns of an amount."""
    return Usage(cost=row.cost, **{name: getattr(row, name) for name in AMOUNTS})


def to_spent(row: Row[Any]) -> Spent:
    """*row* has all columns of `usage`."""
    return Spent(Spender(row.step, row.agent, row.model), to_usage(row))
