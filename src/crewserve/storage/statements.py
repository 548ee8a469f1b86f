"""The statements of the writing side, built once."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Insert,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningDelete

from crewserve.domain.execution import Driver
from crewserve.domain.ids import WorkerName
from crewserve.domain.status import TERMINAL, Status
from crewserve.ports import Held
from crewserve.storage.lines import ASKED, IN_LINE, NOT_PAUSED, QUEUE, TAKEN, place, unless_paused
from crewserve.storage.tables import CLAIMABLE, attempts, executions, labels, steps
from crewserve.storage.types import UtcDateTime
from crewserve.storage.upsert import dialect_insert, replacing, replacing_insert

READY_CHANNEL: Final = "crewserve_ready"
CANCEL_CHANNEL: Final = "crewserve_cancel"
EVENTS_CHANNEL: Final = "crewserve_events"

GET = select(executions).where(executions.c.id == bindparam("key")).with_for_update()

TELL = case(
    (CLAIMABLE, func.pg_notify(READY_CHANNEL, "")),
    (
        and_(executions.c.status == Status.RUNNING, executions.c.cancel_requested_at.is_not(None)),
        func.pg_notify(CANCEL_CHANNEL, cast(executions.c.id, String)),
    ),
)
"""Tells other hosts what a row means to them. PostgreSQL delivers it at the commit, and the same
message only once, so that a batch of inserts is one message and none takes a round trip."""


def add(dialect: Dialect) -> Insert:
    """One statement, which also finds its place."""
    statement = insert(executions).values(standing=unless_paused(ASKED, QUEUE), place=place())
    return statement.returning(TELL) if dialect.name == "postgresql" else statement


def replace(dialect: Dialect) -> Update:
    statement = update(executions).where(
        executions.c.id == bindparam("key"),
        executions.c.fence == bindparam("old_fence"),
        executions.c.status == bindparam("old_status"),
    )
    statement = statement.values(standing=unless_paused(ASKED, executions.c.queue))
    return statement.returning(TELL) if dialect.name == "postgresql" else statement


_CLAIMABLE_NOW = (
    select(executions.c.id)
    .where(
        CLAIMABLE,
        executions.c.flow.in_(bindparam("flows", expanding=True)),
        NOT_PAUSED,
    )
    .order_by(*IN_LINE)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def _claim(candidates: "Select[tuple[UUID]]") -> Update:
    """`apply(execution, Claimed(...))` as one statement, so that two claimers cannot meet."""
    first = candidates.cte("first")  # a subquery PostgreSQL may run again, and lock other rows
    return (
        update(executions)
        .where(executions.c.id.in_(select(first.c.id)))
        .values(
            status=Status.RUNNING,
            standing=TAKEN,
            attempt=executions.c.attempt + 1,
            fence=executions.c.fence + 1,
            started_at=bindparam("now"),
            lease_owner=bindparam("owner"),
            lease_expires_at=bindparam("expiry"),
        )
        .returning(*executions.c)
    )


CLAIM = _claim(_CLAIMABLE_NOW)
CLAIM_ONLY = _claim(_CLAIMABLE_NOW.where(executions.c.id.in_(bindparam("only", expanding=True))))


def dispatch(pauses: Sequence[timedelta], limit: int, now: datetime) -> Update:
    """See `ExecutionStore.dispatch`."""
    since = [literal(now - pause, UtcDateTime()) for pause in pauses]
    quiet_since = case(
        *((executions.c.dispatches == times, moment) for times, moment in enumerate(since)),
        else_=since[-1],
    )
    announced_at = func.coalesce(executions.c.dispatched_at, executions.c.available_at)
    due = (
        select(executions.c.id)
        .where(CLAIMABLE, announced_at <= quiet_since)
        .order_by(*IN_LINE)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(executions)
        .where(executions.c.id.in_(select(due.c.id)))
        .values(dispatched_at=now, dispatches=executions.c.dispatches + 1)
        .returning(*executions.c)
    )


CLAIMED = (
    select(executions)
    .where(
        executions.c.lease_owner == bindparam("owner"),
        executions.c.lease_expires_at.is_not(None),
        executions.c.status == Status.RUNNING,
        executions.c.driver == Driver.WORKER,
    )
    .with_for_update(skip_locked=True)
)

LABEL = insert(labels)

BEGIN_ATTEMPT = insert(attempts)

END_ATTEMPT = (
    update(attempts)
    .where(
        attempts.c.execution == bindparam("key"),
        attempts.c.fence == bindparam("held_fence"),
    )
    .values(
        ended_at=bindparam("ended"),
        outcome=bindparam("how"),
        code=bindparam("why"),
        error=bindparam("said"),
    )
)


def add_step(dialect: Dialect) -> Insert:
    """For an execution that begins with it."""
    return replacing_insert(dialect, steps)


def record_step(dialect: Dialect) -> Insert:
    """Writes a row while the step's attempt holds the execution, else none."""
    names = steps.c.keys()
    held = (
        select(*(bindparam(name, type_=steps.c[name].type) for name in names))
        .select_from(executions)
        .where(
            executions.c.id == bindparam("execution", type_=executions.c.id.type),
            executions.c.fence == bindparam("fence", type_=executions.c.fence.type),
            executions.c.status == Status.RUNNING,
        )
        .with_for_update(read=True)  # or the reaper could take it away before the commit
    )
    return replacing(dialect_insert(dialect, steps).from_select(names, held), steps)


def renew(owner: WorkerName, held: Collection[Held], expiry: datetime, now: datetime) -> Update:
    """Exactly the leases in *held*."""
    return (
        update(executions)
        .where(
            tuple_(executions.c.id, executions.c.fence).in_(list(held)),
            executions.c.lease_owner == owner,
            executions.c.lease_expires_at > now,
        )
        .values(lease_expires_at=expiry)
        .returning(
            executions.c.id,
            executions.c.fence,
            executions.c.cancel_requested_at,
            executions.c.cancel_grace_seconds,
            executions.c.cancel_reason,
        )
    )


def abandoned(
    lost: Collection[WorkerName], limit: int, now: datetime
) -> "Select[tuple[object, ...]]":
    """Whatever has a lease that is over, or that one of *lost* had."""
    gone: ColumnElement[bool] = executions.c.lease_expires_at < now
    if lost:
        owned = executions.c.lease_owner.in_(sorted(lost))
        gone = or_(gone, and_(executions.c.lease_expires_at.is_not(None), owned))
    return select(executions).where(gone).limit(limit).with_for_update(skip_locked=True)


FORGET_STEPS = delete(steps).where(  # an earlier attempt's, that this one runs again
    steps.c.execution == bindparam("execution", unique=False),
    steps.c.position >= bindparam("position", unique=False),
    steps.c.fence < bindparam("fence", unique=False),
)


def remove(dialect: Dialect) -> ReturningDelete[Any]:
    """Unless somebody runs it. Readers on other hosts are told that its log has ended."""
    told = func.pg_notify(EVENTS_CHANNEL, cast(executions.c.id, String))
    return (
        delete(executions)
        .where(
            executions.c.id == bindparam("key"),
            or_(
                executions.c.status.in_(sorted(TERMINAL)),
                and_(executions.c.status == Status.PENDING, executions.c.driver == Driver.WORKER),
            ),
        )
        .returning(*executions.c, *([told] if dialect.name == "postgresql" else []))
    )
