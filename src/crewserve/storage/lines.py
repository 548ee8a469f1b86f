"""The order in which executions are claimed, as parts of statements.

Each gets its *place* when it joins the line: in the round after the last of its lane, or else after
the round that is being served (start-time fair queueing). So lanes take turns whatever each of them
has waiting, and as a round that is served takes no more in, a stream of newcomers starves nobody.
"""

from typing import Any, Final

from sqlalchemy import (
    Case,
    ColumnElement,
    ScalarSelect,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    union_all,
)

from crewserve.domain.flow_control import Standing
from crewserve.storage.tables import executions, paused_queues

IN_LINE: Final = (executions.c.priority.desc(), executions.c.place, executions.c.id)

EARLY, HELD, READY, TAKEN = (literal_column(f"'{one}'", String()) for one in Standing)
"""As constants, which are quicker than parameters."""

ASKED: Final = bindparam("asked", type_=String())
QUEUE: Final = bindparam("line_queue", type_=Text())

NOT_PAUSED: Final = executions.c.queue.not_in(select(paused_queues.c.name))

OF_LANE: Final = and_(
    executions.c.flow == bindparam("lane_flow"), executions.c.concurrency_key == bindparam("lane")
)


def unless_paused(asked: ColumnElement[Any], queue: ColumnElement[Any]) -> "Case[Any]":
    """*asked*, but nothing becomes ready in a paused queue.

    The lock, on PostgreSQL, is for whoever resumes the queue: he sees all that was held for it.
    """
    paused = select(paused_queues.c.name).where(paused_queues.c.name == queue)
    held = and_(asked == READY, exists(paused.with_for_update(read=True)))
    return case((held, HELD), else_=asked)


def place() -> "ScalarSelect[Any]":
    """Where an execution joins the line. Four looks into indexes, each at one row."""
    places = union_all(
        _last_of_lane(READY), _last_of_lane(HELD), _far(func.max, TAKEN), _far(func.min, READY)
    ).subquery("places")
    return select(func.coalesce(func.max(places.c.place) + 1, 0)).scalar_subquery()


def _last_of_lane(standing: ColumnElement[str]) -> "Select[Any]":
    line = executions.alias("lane")
    return select(func.max(line.c.place).label("place")).where(
        line.c.flow == bindparam("lane_flow"),
        line.c.concurrency_key == bindparam("lane"),
        line.c.standing == standing,
        line.c.priority == bindparam("line_priority"),
    )


def _far(extreme: Any, standing: ColumnElement[str]) -> "Select[Any]":
    """How far the line has come: what was taken last, or else what will be taken next."""
    line = executions.alias("line")
    return select(extreme(line.c.place).label("place")).where(
        line.c.standing == standing, line.c.priority == bindparam("line_priority")
    )
