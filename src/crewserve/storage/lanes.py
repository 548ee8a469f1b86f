"""Letting executions in: out of limited lanes, paused queues, and when their time has come."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)

from crewserve.domain.errors import LaneFull, QueueFull
from crewserve.domain.execution import Execution, standing
from crewserve.domain.flow_control import FlowControl, Standing, WhenFull
from crewserve.domain.ids import QueueName
from crewserve.storage.lines import (
    ASKED,
    EARLY,
    HELD,
    IN_LINE,
    NOT_PAUSED,
    OF_LANE,
    READY,
    TAKEN,
    place,
    unless_paused,
)
from crewserve.storage.mapping import to_execution
from crewserve.storage.statements import TELL
from crewserve.storage.tables import IS_EARLY, executions, paused_queues
from crewserve.storage.upsert import dialect_insert

LOCK: Final = select(func.pg_advisory_xact_lock(int.from_bytes(b"crewlane")))
"""One for all limited lanes: of several, two transactions could hold what the other one waits for.
Only writes that touch such a lane wait for each other, and each process has one writer."""

_STANDING: Final = executions.c.standing
_LIMITED: Final = executions.c.max_running.is_not(None)

HEAD: Final = (
    select(executions)
    .where(OF_LANE, _STANDING == HELD, _LIMITED, NOT_PAUSED)
    .order_by(*IN_LINE[:2])
    .limit(1)
    .with_for_update(skip_locked=True)  # who has locked it comes here too
)

IN_PLACES: Final = (
    select(func.count())
    .select_from(executions)
    .where(OF_LANE, _STANDING.in_([READY, TAKEN]), _LIMITED)
)
"""Executions accepted before their flow had a limit do not count."""


def _count(*where: ColumnElement[bool]) -> "Select[Any]":
    """No further than to *most*."""
    found = select(executions.c.id).where(OF_LANE, *where).limit(bindparam("most"))
    return select(func.count()).select_from(found.subquery("found"))


COUNT_WAITING: Final = _count(_STANDING.in_([EARLY, HELD, READY]))

COUNT_LIMITED: Final = _count(_STANDING.in_([HELD, READY, TAKEN]), _LIMITED)

OTHERS: Final = (
    select(executions)
    .where(
        OF_LANE,
        _STANDING.in_([HELD, READY, TAKEN]),
        executions.c.cancel_requested_at.is_(None),
        executions.c.id != bindparam("key"),
    )
    .with_for_update(
        nowait=True
    )  # who has locked one may wait for the lock of lanes, which we hold
)

DUE: Final = (
    select(executions)
    .where(IS_EARLY, executions.c.available_at <= bindparam("now"))
    .order_by(executions.c.available_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)

NEXT_DUE: Final = select(func.min(executions.c.available_at)).where(IS_EARLY)

PARK: Final = (
    update(executions)
    .where(_STANDING == READY, executions.c.queue == bindparam("of"))
    .values(standing=HELD)
)

HELD_LANES: Final = (
    select(executions.c.flow, executions.c.concurrency_key)
    .where(_STANDING == HELD, executions.c.queue == bindparam("of"), _LIMITED)
    .distinct()
)

RESUME: Final = delete(paused_queues).where(paused_queues.c.name == bindparam("of"))


_inside: Final = executions.alias("inside")
DESERTED: Final = (
    select(executions.c.flow, executions.c.concurrency_key)
    .where(
        _STANDING == HELD,
        _LIMITED,
        NOT_PAUSED,
        ~exists().where(
            _inside.c.flow == executions.c.flow,
            _inside.c.concurrency_key == executions.c.concurrency_key,
            _inside.c.standing.in_([READY, TAKEN]),
            _inside.c.max_running.is_not(None),
        ),
    )
    .distinct()
)
"""Lanes in which nothing will ever end and let in those that are held."""


def parked() -> "Select[Any]":
    """What waits in a paused queue for nothing else."""
    return (
        select(executions.c.id)
        .where(
            _STANDING == HELD,
            executions.c.queue == bindparam("of"),
            executions.c.max_running.is_(None),
        )
        .order_by(*IN_LINE)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )


def lane_of(execution: Execution) -> Mapping[str, Any]:
    """What statements about its lane, and its place there, ask for."""
    turn = execution.turn
    return {
        "lane_flow": execution.flow,
        "lane": turn.key,
        "line_priority": turn.priority,
        "line_queue": turn.queue,
    }


class Lanes:
    """Decides in whatever transaction it is given, from the rows as they are."""

    def __init__(self, dialect: Dialect) -> None:
        self._is_postgres = dialect.name == "postgresql"
        self._insert = dialect_insert
        self._dialect = dialect
        by_id = update(executions).where(executions.c.id == bindparam("key"))
        joined = by_id.values(standing=unless_paused(ASKED, executions.c.queue), place=place())
        first = parked().cte("first")
        unparked = update(executions).where(executions.c.id.in_(select(first.c.id)))
        self._admit = self._telling(by_id.values(standing=READY))
        self._join = self._telling(joined)
        self._unpark = self._telling(unparked.values(standing=READY))

    def _telling(self, statement: Update) -> Any:
        columns = [*executions.c, TELL] if self._is_postgres else [*executions.c]
        return statement.returning(*columns)

    def lock(self, connection: Connection) -> None:
        """Let no other process decide until this transaction ends. SQLite never does."""
        if self._is_postgres:
            connection.execute(LOCK)

    def refusal(
        self, connection: Connection, execution: Execution, control: FlowControl
    ) -> QueueFull | LaneFull | None:
        """Why *execution* cannot be accepted now."""
        most, places = control.max_pending, execution.turn.max_running
        if self._reaches(connection, COUNT_WAITING, execution, most):
            return QueueFull(execution.turn.queue, most or 0)
        is_early = standing(execution, execution.created_at) is Standing.EARLY
        if control.when_full is not WhenFull.REJECT or is_early:
            return None
        if self._reaches(connection, COUNT_LIMITED, execution, places):
            return LaneFull(execution.flow, execution.turn.key, places or 0)
        return None

    @staticmethod
    def _reaches(
        connection: Connection, count: "Select[Any]", execution: Execution, most: int | None
    ) -> bool:
        if most is None:
            return False
        found = connection.execute(count, {**lane_of(execution), "most": most})
        return int(found.scalar_one()) >= most

    def oldest_but(
        self, connection: Connection, execution: Execution, kept: int
    ) -> list[Execution]:
        """All others of its lane that may begin or run and stop by themselves, but the newest."""
        rows = connection.execute(OTHERS, {**lane_of(execution), "key": execution.id})
        newest_first = sorted(rows, key=lambda row: row.id, reverse=True)
        return [to_execution(row) for row in newest_first[kept:]]

    def admit(self, connection: Connection, lane: Mapping[str, Any]) -> list[Execution]:
        """Give the free places of a limited lane to those that are held; answer with those."""
        admitted: list[Execution] = []
        taken: int | None = None
        while (head := connection.execute(HEAD, lane).first()) is not None:
            taken = self._taken_places(connection, lane) if taken is None else taken + 1
            if taken >= head.max_running:
                break
            row = connection.execute(self._admit, {"key": head.id}).one()
            admitted.append(to_execution(row))
        return admitted

    def let_in(self, connection: Connection, limit: int, now: datetime) -> list[Execution]:
        """Those whose time has come, if nothing else holds them."""
        due = connection.execute(DUE, {"now": now, "most": limit}).all()
        found: list[Execution] = []
        for execution in map(to_execution, due):
            found += self._joined(connection, execution, now)
        return found

    def revive(self, connection: Connection) -> list[Execution]:
        """Into lanes that stand empty.

        Whoever leaves a lane passes over a head that another transaction has locked, and that one
        may be undone.
        """
        self.lock(connection)
        return self._admit_to(connection, connection.execute(DESERTED).all())

    def _joined(
        self, connection: Connection, execution: Execution, now: datetime
    ) -> list[Execution]:
        lane = lane_of(execution)
        values = {**lane, "key": execution.id, "asked": standing(execution, now)}
        row: Row[Any] = connection.execute(self._join, values).one()
        if row.standing == Standing.READY:
            return [execution]
        if execution.turn.max_running is None:
            return []
        self.lock(connection)
        return self.admit(connection, lane)

    def pause(self, connection: Connection, queue: QueueName, now: datetime) -> None:
        """Nothing of *queue* can be claimed any more."""
        row = {"name": queue, "paused_at": now}
        inserted = self._insert(self._dialect, paused_queues).values(row)
        connection.execute(inserted.on_conflict_do_nothing())
        connection.execute(PARK, {"of": queue})

    def resume(
        self, connection: Connection, queue: QueueName, limit: int
    ) -> tuple[list[Execution], bool]:
        """Let so many in, the first before others; the last of them with the queue itself.

        Whether more are left is the second answer.
        """
        found = self._unparked(connection, queue, limit)
        if len(found) == limit:
            return found, True
        connection.execute(RESUME, {"of": queue})  # waits for those that saw it paused
        found += self._unparked(connection, queue, limit)
        self.lock(connection)
        found += self._admit_to(connection, connection.execute(HELD_LANES, {"of": queue}).all())
        return found, False

    def _admit_to(self, connection: Connection, lanes: Sequence[Row[Any, Any]]) -> list[Execution]:
        found: list[Execution] = []
        for row in lanes:
            lane = {"lane_flow": row.flow, "lane": row.concurrency_key}
            found += self.admit(connection, lane)
        return found

    def _unparked(self, connection: Connection, queue: QueueName, limit: int) -> list[Execution]:
        values = {"of": queue, "most": limit}
        return [to_execution(row) for row in connection.execute(self._unpark, values)]

    @staticmethod
    def _taken_places(connection: Connection, lane: Mapping[str, Any]) -> int:
        return int(connection.execute(IN_PLACES, lane).scalar_one())
