"""Statements that find many executions.

A page costs the same wherever it is: ids sort by time, and each combination of filters reads an
index in the order of ids.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    cast,
    extract,
    func,
    literal,
    select,
    type_coerce,
    union_all,
)

from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Grouping
from crewserve.storage.tables import executions
from crewserve.storage.types import JsonValue

Statement = Select[Any]
Condition = ColumnElement[bool]

COLUMNS: Final = {
    Grouping.STATUS: executions.c.status,
    Grouping.FLOW: executions.c.flow,
    Grouping.CODE: executions.c.failure_code,
}

ID_SLACK: Final = timedelta(minutes=1)
"""How far an id's time and `created_at` may differ: a clock may be set between the two."""


def page(query: ExecutionQuery) -> Statement:
    """See `ExecutionReader.page`.

    No index has several statuses or codes in one order. So each gets a page of its own, and the
    page is the first of those.
    """
    rest = [*_everywhere(query), *_behind(query)]
    alternatives = [[*chosen, *rest] for chosen in _alternatives(query)]
    if len(alternatives) == 1:
        return _in_order(_records(query).where(*alternatives[0]), query)
    pages = [
        select(_in_order(select(executions.c.id).where(*conditions), query).subquery().c.id)
        for conditions in alternatives
    ]
    return _in_order(_records(query).where(executions.c.id.in_(union_all(*pages))), query)


def _records(query: ExecutionQuery) -> Statement:
    if query.results:
        return select(executions)
    nothing = literal(None, JsonValue()).label("result")
    return select(*(nothing if column.name == "result" else column for column in executions.c))


def _in_order(statement: Statement, query: ExecutionQuery) -> Statement:
    order = executions.c.id if query.oldest_first else executions.c.id.desc()
    return statement.order_by(order).limit(query.limit)


def _behind(query: ExecutionQuery) -> Iterator[Condition]:
    if query.after is not None:
        column = executions.c.id
        yield column > query.after if query.oldest_first else column < query.after


def _alternatives(found: ExecutionFilter) -> list[tuple[Condition, ...]]:
    """One of these must hold; each is a condition for one status and one code."""
    statuses = [[executions.c.status == one] for one in sorted(found.statuses)] or [[]]
    codes = [[executions.c.failure_code == one] for one in sorted(found.codes)] or [[]]
    return [(*status, *code) for status, code in product(statuses, codes)]


def _everywhere(found: ExecutionFilter) -> Iterator[Condition]:
    if found.flow is not None:
        yield executions.c.flow == found.flow
    if found.error_text is not None:
        yield executions.c.failure_code.is_not(None)
        yield executions.c.failure_message.icontains(found.error_text, autoescape=True)
    if found.created_from is not None:
        yield executions.c.id >= _first_id(found.created_from - ID_SLACK)
        yield executions.c.created_at >= found.created_from
    if found.created_before is not None:
        yield executions.c.id < _first_id(found.created_before + ID_SLACK)
        yield executions.c.created_at < found.created_before


def _first_id(moment: datetime) -> UUID:
    """No UUIDv7 (RFC 9562) of that time or later sorts before it."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=max(0, milliseconds) << 80)


def count(found: ExecutionFilter, by: Sequence[Grouping]) -> Statement:
    """See `ExecutionReader.count`."""
    columns = [COLUMNS[grouping] for grouping in by]
    statement = select(*columns, func.count().label("number")).select_from(executions)
    return _all_of(statement, found).group_by(*columns)


def bars(found: ExecutionFilter, interval: timedelta, dialect: Dialect) -> Statement:
    """Rows of the number of the interval since 1970, status, number; see `ExecutionReader.bars`."""
    seconds = int(interval.total_seconds())
    created = executions.c.created_at
    if dialect.name == "sqlite":
        bar = type_coerce(created, BigInteger) // (seconds * 1_000_000)
    else:
        bar = cast(func.floor(extract("epoch", created) / seconds), BigInteger)
    statement = select(bar.label("bar"), executions.c.status, func.count().label("number"))
    return _all_of(statement, found).group_by("bar", executions.c.status)


def _all_of(statement: Statement, found: ExecutionFilter) -> Statement:
    if found.statuses:
        statement = statement.where(executions.c.status.in_(sorted(found.statuses)))
    if found.codes:
        statement = statement.where(executions.c.failure_code.in_(sorted(found.codes)))
    return statement.where(*_everywhere(found))
