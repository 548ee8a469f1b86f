"""The writing side on a SQL database."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Dialect, Row

from crewserve.domain import lifecycle
from crewserve.domain.attempts import ended_attempt, lease_lost_reason
from crewserve.domain.errors import (
    CrewserveError,
    ExecutionActive,
    ExecutionNotFound,
    StaleExecution,
)
from crewserve.domain.execution import (
    Cancel,
    Event,
    Execution,
    HandedBack,
    LeaseExpired,
    apply,
    giving_way,
    is_in,
    standing,
)
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, Standing, WhenFull
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId, FlowName, QueueName, WorkerName
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status
from crewserve.domain.step import Step
from crewserve.ports import Held, LetIn
from crewserve.storage import statements
from crewserve.storage.entries import EntryWriter
from crewserve.storage.keys import KeyWriter
from crewserve.storage.lanes import NEXT_DUE, Lanes, lane_of
from crewserve.storage.mapping import (
    FIXED,
    RECORDED,
    to_attempt_row,
    to_cancel,
    to_changes,
    to_execution,
    to_label_rows,
    to_row,
    to_step_row,
)
from crewserve.storage.prepared import Prepared
from crewserve.storage.tables import labels
from crewserve.storage.tables import steps as steps_table
from crewserve.storage.writer import T, Writer


class SqlStore:
    """`ExecutionStore` on whatever database *writer* writes to."""

    def __init__(
        self,
        writer: Writer,
        dialect: Dialect,
        tell: Callable[[ExecutionId], None] = lambda _: None,
    ) -> None:
        """*tell* is called after each commit, in the writer's thread, with what was changed."""
        self._writer = writer
        self._tell = tell
        changing = [name for name in RECORDED if name not in FIXED]
        begun = ["execution", "fence", "number", "worker", "started_at"]
        self._announce: LetIn = lambda _: None
        self._keys = KeyWriter(dialect)
        self._lanes = Lanes(dialect)
        self._entries = EntryWriter(dialect)
        self._insert = Prepared(statements.add(dialect), dialect, RECORDED)
        self._update = Prepared(statements.replace(dialect), dialect, changing)
        self._label = Prepared(statements.LABEL, dialect, labels.c.keys())
        self._remove = statements.remove(dialect)
        self._begin_attempt = Prepared(statements.BEGIN_ATTEMPT, dialect, begun)
        self._end_attempt = Prepared(statements.END_ATTEMPT, dialect)
        self._forget_steps = Prepared(statements.FORGET_STEPS, dialect)
        self._add_step = Prepared(statements.add_step(dialect), dialect, steps_table.c.keys())
        self._record_step = Prepared(statements.record_step(dialect), dialect)

    def on_let_in(self, announce: LetIn) -> None:
        self._announce = announce

    def add(
        self,
        execution: Execution,
        steps: Sequence[Step] = (),
        key: IdempotencyKey | None = None,
        control: FlowControl = NO_CONTROL,
    ) -> Future[Sequence[ExecutionId]]:
        asked = standing(execution, execution.created_at)
        row = {**to_row(execution), **lane_of(execution), "asked": asked}
        labelled = to_label_rows(execution)
        recorded = [to_step_row(Held(execution.id, 0), step) for step in steps]
        is_limited = asked is Standing.HELD or control.max_pending is not None

        def run(
            connection: Connection, let_in: list[Execution]
        ) -> Sequence[ExecutionId] | CrewserveError:
            if is_limited:
                self._lanes.lock(connection)
                if refusal := self._lanes.refusal(connection, execution, control):
                    return refusal
            if key is not None:
                self._keys.record(connection, key, execution)
            self._insert.run(connection, row)
            if labelled:
                self._label.run_all(connection, labelled)
            for step in recorded:
                self._add_step.run(connection, step)
            self._entries.write(connection, [(execution.id, lifecycle.accepted(execution))])
            is_next = asked is Standing.HELD  # one that begins later takes nobody's place
            return self._join(connection, execution, control, let_in) if is_next else ()

        return self._submit(run)

    def _join(
        self,
        connection: Connection,
        execution: Execution,
        control: FlowControl,
        let_in: list[Execution],
    ) -> Sequence[ExecutionId]:
        """Answers with those that make way for it."""
        now, made_way = execution.created_at, []
        places = execution.turn.max_running
        if places is not None and control.when_full is WhenFull.CANCEL_RUNNING:
            for other in self._lanes.oldest_but(connection, execution, places - 1):
                self._apply(connection, other, giving_way(execution.id), now, let_in)
                made_way.append(other.id)
        let_in += self._lanes.admit(connection, lane_of(execution))
        return made_way

    def _submit(
        self,
        run: "Callable[[Connection, list[Execution]], T | CrewserveError]",
        changes: Sequence[ExecutionId] = (),
    ) -> "Future[T]":
        """*run* notes whom it let in. They are announced after the commit.

        Those who read are told of *changes* then, and of the executions that *run* answers with.
        """
        let_in: list[Execution] = []

        def anew(connection: Connection) -> "T | CrewserveError":
            let_in.clear()  # it may run again
            return run(connection, let_in)

        def announce(written: "Future[T]") -> None:
            if written.exception():
                return
            if let_in:
                self._announce(let_in)
            for changed in (*changes, *_ids_in(written.result())):
                self._tell(changed)

        future = self._writer.submit(anew)
        future.add_done_callback(announce)
        return future

    def current(self, execution_id: ExecutionId) -> Future[Execution]:
        return self._writer.submit(lambda connection: _get(connection, execution_id))

    def change(
        self,
        execution_id: ExecutionId,
        event: Event,
        *,
        now: datetime,
        fence: int | None = None,
        realm: Realm | None = None,
    ) -> Future[Execution]:
        def run(connection: Connection, let_in: list[Execution]) -> Execution:
            before = _get(connection, execution_id, realm)
            if fence is not None and (before.fence, before.status) != (fence, Status.RUNNING):
                raise StaleExecution(execution_id)
            return self._apply(connection, before, event, now, let_in)

        return self._submit(run)

    def _apply(
        self,
        connection: Connection,
        before: Execution,
        event: Event,
        now: datetime,
        let_in: list[Execution],
    ) -> Execution:
        after = apply(before, event, now=now)
        guard = {"key": before.id, "old_fence": before.fence, "old_status": before.status}
        changes = {**to_changes(after), "asked": standing(after, now)}
        written = self._update.run(connection, {**changes, **guard})
        if written.rowcount != 1:
            raise StaleExecution(before.id)
        if after.fence > before.fence:
            self._begin_attempt.run(connection, to_attempt_row(after))
        if ended := ended_attempt(before, event, after):
            values = {"key": before.id, "held_fence": before.fence, "ended": now}
            values |= {"how": ended.outcome, "why": ended.code, "said": ended.error}
            self._end_attempt.run(connection, values)
        if entry := lifecycle.changed(before, event, after, now):
            self._entries.write(connection, [(after.id, entry)])
        self._free_place(connection, after, let_in)
        return after

    def _free_place(self, connection: Connection, left: Execution, let_in: list[Execution]) -> None:
        """For the next of its lane, unless it still runs."""
        if left.turn.max_running is not None and left.status is not Status.RUNNING:
            self._lanes.lock(connection)
            let_in += self._lanes.admit(connection, lane_of(left))

    def claim(
        self,
        owner: WorkerName,
        *,
        flows: Collection[FlowName],
        limit: int,
        lease_expires_at: datetime,
        now: datetime,
        only: Collection[ExecutionId] | None = None,
    ) -> Future[list[Execution]]:
        statement = statements.CLAIM if only is None else statements.CLAIM_ONLY
        values: dict[str, Any] = {
            "flows": sorted(flows),
            "most": limit,
            "owner": owner,
            "expiry": lease_expires_at,
            "now": now,
        }
        if only is not None:
            values["only"] = list(only)

        def run(connection: Connection, _: list[Execution]) -> list[Execution]:
            rows = connection.execute(statement, values).all()
            claimed = [to_execution(row) for row in sorted(rows, key=_in_line)]
            for execution in claimed:
                self._begin_attempt.run(connection, to_attempt_row(execution))
            started = [(one.id, lifecycle.attempt_started(one, now)) for one in claimed]
            self._entries.write(connection, started)
            return claimed

        return self._submit(run)

    def hand_back(
        self, owner: WorkerName, *, but: Collection[Held], now: datetime
    ) -> Future[list[Execution]]:
        def run(connection: Connection, let_in: list[Execution]) -> list[Execution]:
            rows = connection.execute(statements.CLAIMED, {"owner": owner}).all()
            return [
                self._apply(connection, claimed, HandedBack(), now, let_in)
                for claimed in map(to_execution, rows)
                if Held(claimed.id, claimed.fence) not in but
            ]

        return self._submit(run)

    def dispatch(
        self, *, pauses: Sequence[timedelta], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        statement = statements.dispatch(pauses, limit, now)

        def run(connection: Connection) -> list[Execution]:
            rows = connection.execute(statement).all()
            return [to_execution(row) for row in sorted(rows, key=_in_line)]

        return self._writer.submit(run)

    def renew(
        self,
        owner: WorkerName,
        held: Collection[Held],
        *,
        lease_expires_at: datetime,
        now: datetime,
    ) -> Future[Mapping[Held, Cancel | None]]:
        statement = statements.renew(owner, held, lease_expires_at, now)

        def run(connection: Connection) -> Mapping[Held, Cancel | None]:
            return {
                Held(ExecutionId(row.id), row.fence): to_cancel(row)
                for row in connection.execute(statement)
            }

        return self._writer.submit(run)

    def record(self, held: Held, step: Step, *, replaces: bool = True) -> Future[None]:
        row = to_step_row(held, step)

        def run(connection: Connection) -> None:
            if self._record_step.run(connection, row).rowcount != 1:
                raise StaleExecution(held.id)
            if replaces:
                self._forget_steps.run(connection, row)

        return self._writer.submit(run)

    def reap(
        self, *, lost: Collection[WorkerName], limit: int, now: datetime
    ) -> Future[list[Execution]]:
        statement = statements.abandoned(lost, limit, now)

        def run(connection: Connection, let_in: list[Execution]) -> list[Execution]:
            reaped = []
            for row in connection.execute(statement).all():
                before = to_execution(row)
                event = LeaseExpired(lease_lost_reason(before, lost))
                reaped.append(self._apply(connection, before, event, now, let_in))
            return reaped

        return self._submit(run)

    def delete(self, execution_id: ExecutionId, *, realm: Realm | None = None) -> Future[None]:
        def run(connection: Connection, let_in: list[Execution]) -> None:
            if realm is not None:
                _get(connection, execution_id, realm)
            removed = connection.execute(self._remove, {"key": execution_id}).one_or_none()
            if removed is None:
                raise ExecutionActive(execution_id, _get(connection, execution_id).status)
            self._free_place(connection, to_execution(removed), let_in)

        return self._submit(run, [execution_id])

    def let_in(
        self, *, limit: int, now: datetime, everywhere: bool = False
    ) -> Future[datetime | None]:
        def run(connection: Connection, let_in: list[Execution]) -> datetime | None:
            let_in += self._lanes.let_in(connection, limit, now)
            if everywhere:
                let_in += self._lanes.revive(connection)
            next_due: datetime | None = connection.execute(NEXT_DUE).scalar()
            return next_due

        return self._submit(run)

    def pause(self, queue: QueueName, *, now: datetime) -> Future[None]:
        return self._writer.submit(lambda connection: self._lanes.pause(connection, queue, now))

    def resume(self, queue: QueueName, *, limit: int) -> Future[bool]:
        def run(connection: Connection, let_in: list[Execution]) -> bool:
            found, is_more = self._lanes.resume(connection, queue, limit)
            let_in += found
            return is_more

        return self._submit(run)


def _ids_in(changed: object) -> Iterator[ExecutionId]:
    """Of executions, or of what already is one."""
    for one in changed if isinstance(changed, Sequence) else [changed]:
        if isinstance(one, Execution):
            yield one.id
        elif isinstance(one, UUID):
            yield ExecutionId(one)


def _in_line(row: Row[Any]) -> tuple[int, int, ExecutionId]:
    return -row.priority, row.place, row.id


def _get(
    connection: Connection, execution_id: ExecutionId, realm: Realm | None = None
) -> Execution:
    row = connection.execute(statements.GET, {"key": execution_id}).one_or_none()
    found = None if row is None else to_execution(row)
    if found is None or not is_in(found, realm):
        raise ExecutionNotFound(execution_id)
    return found
