"""What `search` does, on records in memory."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from crewserve.domain.execution import Execution, is_in
from crewserve.domain.query import (
    EPOCH,
    Bar,
    Count,
    ExecutionFilter,
    ExecutionQuery,
    Grouping,
    Place,
)


def page(rows: Iterable[Execution], query: ExecutionQuery) -> Sequence[Execution]:
    if query.order.is_by_cost:
        rows = [row for row in rows if _cost(row) is not None]
    ordered = sorted(rows, key=lambda row: _place(row, query), reverse=not query.order.is_rising)
    found = [row for row in ordered if matches(row, query) and _is_behind(row, query)]
    shown = found[: query.limit]
    return shown if query.results else [replace(row, result=None) for row in shown]


def count(
    rows: Iterable[Execution], found: ExecutionFilter, by: Sequence[Grouping]
) -> Sequence[Count]:
    numbers = Counter(tuple(_value(row, one) for one in by) for row in rows if matches(row, found))
    return [Count(of, number) for of, number in numbers.items()]


def bars(rows: Iterable[Execution], found: ExecutionFilter, interval: timedelta) -> Sequence[Bar]:
    numbers = Counter(
        ((row.created_at - EPOCH) // interval, row.status) for row in rows if matches(row, found)
    )
    return [
        Bar(EPOCH + place * interval, status, number)
        for (place, status), number in sorted(numbers.items())
    ]


def matches(row: Execution, found: ExecutionFilter) -> bool:
    """But for the model, which the record does not have."""
    failure = row.failure
    return (
        is_in(row, found.realm)
        and (found.flow is None or row.flow == found.flow)
        and (not found.statuses or row.status in found.statuses)
        and (not found.codes or (failure is not None and failure.code in found.codes))
        and (found.error_text is None or _says(row, found.error_text))
        and (found.created_from is None or row.created_at >= found.created_from)
        and (found.created_before is None or row.created_at < found.created_before)
        and found.labels <= set(row.labels.each())
        and found.attempt in (None, row.attempt)
        and (found.min_attempt is None or row.attempt >= found.min_attempt)
        and _has_cost(row, found)
    )


def _says(row: Execution, text: str) -> bool:
    return row.failure is not None and text.lower() in row.failure.message.lower()


def _is_behind(row: Execution, query: ExecutionQuery) -> bool:
    if query.after is None:
        return True
    here, last = _place(row, query), query.after
    after = last if query.order.is_by_cost else last._replace(cost=0)
    return here > after if query.order.is_rising else here < after


def _place(row: Execution, query: ExecutionQuery) -> Place:
    return Place((_cost(row) or 0) if query.order.is_by_cost else 0, row.id)


def _cost(row: Execution) -> int | None:
    return row.usage.cost if row.usage else None


def _has_cost(row: Execution, found: ExecutionFilter) -> bool:
    least, most, cost = found.min_cost, found.max_cost, _cost(row)
    if least is None and most is None:
        return True
    return cost is not None and (least or 0) <= cost and (most is None or cost <= most)


def _value(row: Execution, grouping: Grouping) -> str | None:
    match grouping:
        case Grouping.STATUS:
            return row.status
        case Grouping.FLOW:
            return row.flow
        case Grouping.CODE:
            return row.failure.code if row.failure else None
