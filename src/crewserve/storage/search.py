"""Statements that find many executions.

A page costs the same wherever it is: ids sort by time, and each combination of filters reads an
index in the order of ids.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, product
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    FromClause,
    Select,
    and_,
    cast,
    exists,
    extract,
    false,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
    union_all,
)

from crewserve.domain.ids import FlowName
from crewserve.domain.labels import Label
from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Grouping
from crewserve.domain.realm import Realm
from crewserve.storage.tables import executions, labels, usage
from crewserve.storage.types import JsonValue

Statement = Select[Any]
Condition = ColumnElement[bool]
Ids = ColumnElement[UUID]

COLUMNS: Final = {
    Grouping.STATUS: executions.c.status,
    Grouping.FLOW: executions.c.flow,
    Grouping.CODE: executions.c.failure_code,
}

MAX_ALTERNATIVES: Final = 50
"""Of a page. SQLite takes 500; long before that, they cost more than reading what does not fit."""

ID_SLACK: Final = timedelta(minutes=1)
"""How far an id's time and `created_at` may differ: a clock may be set between the two."""


def page(query: ExecutionQuery) -> Statement:
    """See `ExecutionReader.page`.

    No index has several statuses or codes in one order. So each gets a page of its own, and the
    page is the first of those.
    """
    if query.order.is_by_cost:
        return _page_by_cost(query)
    if query.labels:
        return _labelled_page(query)
    rest = [*_everywhere(query), *_behind(query)]
    alternatives = [[*chosen, *rest] for chosen in _alternatives(query)]
    if len(alternatives) > MAX_ALTERNATIVES:
        return _in_order(_records(query).where(*_kinds(query), *rest), query)
    if len(alternatives) == 1:
        return _in_order(_records(query).where(*alternatives[0]), query)
    pages = [
        select(_in_order(select(executions.c.id).where(*conditions), query).subquery().c.id)
        for conditions in alternatives
    ]
    return _in_order(_records(query).where(executions.c.id.in_(union_all(*pages))), query)


def _labelled_page(query: ExecutionQuery) -> Statement:
    """Metadata are rarer than tags, and sorted before them: the first leads, in order.

    What else must hold is looked up for each, so that no other index tempts SQLite.
    """
    first, *others = sorted(query.labels)
    lead = labels.alias("lead")
    rest = [executions.c.id == lead.c.execution, *_kinds(query), *_everywhere(query)]
    found = select(lead.c.execution).where(
        _is(lead, first),
        *(exists().where(labels.c.execution == lead.c.execution, _is(labels, o)) for o in others),
        exists(executions.c.id).where(*rest),
        *of_time(query, lead.c.execution),
        *_behind(query, lead.c.execution),
    )
    page_of_ids = _in_order(found, query, lead.c.execution)
    return _in_order(_records(query).where(executions.c.id.in_(page_of_ids)), query)


def _page_by_cost(query: ExecutionQuery) -> Statement:
    """One index has the order; what else must hold is looked at in each row."""
    cost, ids = executions.c.cost, executions.c.id
    others = [exists().where(labels.c.execution == ids, _is(labels, one)) for one in query.labels]
    conditions = [cost.is_not(None), *others, *_kinds(query), *_everywhere(query)]
    if query.after is not None:
        here, after = tuple_(cost, ids), tuple_(*query.after, types=[cost.type, ids.type])
        conditions.append(here > after if query.order.is_rising else here < after)
    order = [cost, ids] if query.order.is_rising else [cost.desc(), ids.desc()]
    return _records(query).where(*conditions).order_by(*order).limit(query.limit)


def _is(table: FromClause, label: Label) -> Condition:
    return and_(table.c.name == label.name, table.c.value == label.value)


def _records(query: ExecutionQuery) -> Statement:
    if query.results:
        return select(executions)
    nothing = literal(None, JsonValue()).label("result")
    return select(*(nothing if column.name == "result" else column for column in executions.c))


def _in_order(statement: Statement, query: ExecutionQuery, ids: Ids = executions.c.id) -> Statement:
    order = ids if query.order.is_rising else ids.desc()
    return statement.order_by(order).limit(query.limit)


def _behind(query: ExecutionQuery, ids: Ids = executions.c.id) -> Iterator[Condition]:
    if query.after is not None:
        last = query.after.id
        yield ids > last if query.order.is_rising else ids < last


def _alternatives(found: ExecutionFilter) -> list[tuple[Condition, ...]]:
    """One of these must hold; each is a condition for one status, one code and one flow."""
    flows = [[executions.c.flow == one] for one in sorted(_flows_of_realm(found))]
    statuses = [[executions.c.status == one] for one in sorted(found.statuses)] or [[]]
    codes = [[executions.c.failure_code == one] for one in sorted(found.codes)] or [[]]
    return [tuple(chain(*chosen)) for chosen in product(statuses, codes, flows or [[]])]


def _flows_of_realm(found: ExecutionFilter) -> Collection[FlowName]:
    """One that was asked for is looked for by itself."""
    return found.realm.flows if found.realm is not None and found.flow is None else ()


def _everywhere(found: ExecutionFilter) -> Iterator[Condition]:
    """But kinds and labels."""
    if found.realm is not None:
        yield from _in_realm(found.realm, found.flow)
    if found.flow is not None:
        yield executions.c.flow == found.flow
    if found.error_text is not None:
        yield executions.c.failure_code.is_not(None)
        yield executions.c.failure_message.icontains(found.error_text, autoescape=True)
    yield from of_time(found, executions.c.id)
    if found.created_from is not None:
        yield executions.c.created_at >= found.created_from
    if found.created_before is not None:
        yield executions.c.created_at < found.created_before
    if found.attempt is not None:
        yield executions.c.attempt == found.attempt
    if found.min_attempt is not None:
        yield executions.c.attempt >= found.min_attempt
    yield from _of_usage(found)


def _in_realm(realm: Realm, flow: FlowName | None) -> Iterator[Condition]:
    yield executions.c.tenant == realm.tenant
    if flow is not None and not realm.has_flow(flow):
        yield false()


def _of_usage(found: ExecutionFilter) -> Iterator[Condition]:
    if found.min_cost is not None:
        yield executions.c.cost >= found.min_cost
    if found.max_cost is not None:
        yield executions.c.cost <= found.max_cost
    if found.model is not None:
        asked = usage.alias("asked")  # whoever asks may read usage too
        by_it = and_(asked.c.execution == executions.c.id, asked.c.model == found.model)
        yield exists(asked.c.model).where(by_it)


def of_time(found: ExecutionFilter, ids: Ids) -> Iterator[Condition]:
    """A little more than the window, as ids have it."""
    if found.created_from is not None:
        yield ids >= first_id(found.created_from - ID_SLACK)
    if found.created_before is not None:
        yield ids < first_id(found.created_before + ID_SLACK)


def first_id(moment: datetime) -> UUID:
    """No UUIDv7 (RFC 9562) of that time or later sorts before it."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=max(0, milliseconds) << 80)


def count(found: ExecutionFilter, by: Sequence[Grouping]) -> Statement:
    """See `ExecutionReader.count`."""
    columns = [COLUMNS[grouping] for grouping in by]
    statement = select(*columns, func.count().label("number")).select_from(executions)
    return all_of(statement, found).group_by(*columns)


def interval_number(interval: timedelta, dialect: Dialect) -> ColumnElement[int]:
    """Of the one since 1970 in which an execution was created."""
    seconds = int(interval.total_seconds())
    created = executions.c.created_at
    if dialect.name == "sqlite":
        return type_coerce(created, BigInteger) // (seconds * 1_000_000)
    return cast(func.floor(extract("epoch", created) / seconds), BigInteger)


def bars(found: ExecutionFilter, interval: timedelta, dialect: Dialect) -> Statement:
    """Rows of the number of the interval since 1970, status, number; see `ExecutionReader.bars`."""
    bar = interval_number(interval, dialect)
    statement = select(bar.label("bar"), executions.c.status, func.count().label("number"))
    return all_of(statement, found).group_by("bar", executions.c.status)


def all_of(statement: Statement, found: ExecutionFilter) -> Statement:
    """*statement*, of those that the filter lets through."""
    for label in found.labels:
        have_it = select(labels.c.execution).where(_is(labels, label))
        statement = statement.where(executions.c.id.in_(have_it))
    return statement.where(*_kinds(found), *_everywhere(found))


def _kinds(found: ExecutionFilter) -> Iterator[Condition]:
    if found.statuses:
        yield executions.c.status.in_(sorted(found.statuses))
    if found.codes:
        yield executions.c.failure_code.in_(sorted(found.codes))
    if found.realm is not None and found.realm.flows:
        yield executions.c.flow.in_(sorted(found.realm.flows))
