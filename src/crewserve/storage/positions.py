"""What is in the queues, and who is where in line."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, and_, case, func, or_, select, true

from crewserve.domain.flow_control import QueueState, Standing
from crewserve.domain.ids import ExecutionId, QueueName
from crewserve.storage.lines import HELD, READY
from crewserve.storage.tables import executions, paused_queues

QUEUES: Final = (
    select(
        executions.c.queue,
        executions.c.standing,
        func.count().label("found"),
        func.min(executions.c.created_at).label("oldest"),
    )
    .where(executions.c.standing.is_not(None))
    .group_by(executions.c.queue, executions.c.standing)
)

PAUSED: Final = select(paused_queues)

_FIELDS: Final = {
    Standing.EARLY: "early",
    Standing.HELD: "held",
    Standing.READY: "ready",
    Standing.TAKEN: "running",
}


def to_queues(counted: "Sequence[Row[Any]]", paused: "Sequence[Row[Any]]") -> list[QueueState]:
    """By name, from the rows of `QUEUES` and `PAUSED`."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in counted:
        fields, standing = found[row.queue], Standing(row.standing)
        fields[_FIELDS[standing]] = row.found
        if standing in (Standing.READY, Standing.HELD):
            fields["oldest"] = min(row.oldest, fields.get("oldest", row.oldest))
    for row in paused:
        found[row.name]["paused_at"] = row.paused_at
    return [QueueState(name=QueueName(name), **found[name]) for name in sorted(found)]


def before(execution_id: ExecutionId, limit: int) -> "Select[Any]":
    """How many of its queue are claimed before it, or of its lane let in; no more than *limit*.

    No row for what is not in line.
    """
    this, other = executions.alias("this"), executions.alias("other")
    place = or_(
        other.c.place < this.c.place,
        and_(other.c.place == this.c.place, other.c.id < this.c.id),
    )
    goes_first = or_(
        other.c.priority > this.c.priority,
        and_(other.c.priority == this.c.priority, place),
    )
    same_lane = and_(other.c.flow == this.c.flow, other.c.concurrency_key == this.c.concurrency_key)
    found = (
        select(other.c.id)
        .where(
            other.c.standing == this.c.standing,
            other.c.queue == this.c.queue,
            case((this.c.standing == HELD, same_lane), else_=true()),
            goes_first,
        )
        .limit(limit)
        .correlate(this)
        .subquery("found")
    )
    counted = select(func.count()).select_from(found).scalar_subquery()
    return select(counted.label("before")).where(
        this.c.id == execution_id, this.c.standing.in_([HELD, READY])
    )
