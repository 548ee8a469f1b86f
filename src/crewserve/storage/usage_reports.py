"""What many executions used together."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Dialect, Row, case, cast, func, select

from crewserve.domain.query import EPOCH, ExecutionFilter
from crewserve.domain.usage import UsageGroup, UsageGrouping
from crewserve.storage import search
from crewserve.storage.tables import executions, usage
from crewserve.storage.usage import AMOUNTS, to_usage

DAY: Final = timedelta(days=1)

_COST: Final = case(
    (
        func.count() == func.count(usage.c.cost),
        cast(func.coalesce(func.sum(usage.c.cost), 0), BigInteger),
    )
)
"""Null as soon as one is."""


def grouped(
    found: ExecutionFilter, by: Sequence[UsageGrouping], limit: int, dialect: Dialect
) -> search.Statement:
    """See `ExecutionReader.usage_by`."""
    columns = [_column(one, dialect).label(f"by_{one.name}") for one in by]
    sums = [
        cast(func.coalesce(func.sum(usage.c[name]), 0), BigInteger).label(name) for name in AMOUNTS
    ]
    number, cost = func.count(usage.c.execution.distinct()).label("number"), _COST.label("cost")
    asked: Any = [*columns, number, *sums, cost]
    statement: search.Statement = select(*asked).select_from(usage.join(executions))
    statement = search.all_of(statement, found).where(*search.of_time(found, usage.c.execution))
    if found.model is not None:
        statement = statement.where(usage.c.model == found.model)
    newest = [each.desc() for one, each in zip(by, columns, strict=True) if one is _DAY]
    order = [*newest, cost.desc().nulls_first(), *columns]
    return statement.group_by(*(each.name for each in columns)).order_by(*order).limit(limit)


_DAY: Final = UsageGrouping.DAY


def _column(grouping: UsageGrouping, dialect: Dialect) -> ColumnElement[Any]:
    match grouping:
        case UsageGrouping.FLOW:
            return executions.c.flow
        case UsageGrouping.DAY:
            return search.interval_number(DAY, dialect)
        case UsageGrouping.MODEL:
            return usage.c.model
        case UsageGrouping.AGENT:
            return usage.c.agent


def to_group(row: Row[Any], by: Sequence[UsageGrouping]) -> UsageGroup:
    """*row* is one of `grouped`."""
    of = [
        (EPOCH + value * DAY).date().isoformat() if one is _DAY else value
        for one, value in zip(by, row, strict=False)
    ]
    return UsageGroup(tuple(of), row.number, to_usage(row))
