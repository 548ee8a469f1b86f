"""Executions that a hand-written router runs itself: the specification's `execution_store`.

They are recorded and monitored like any other, but no supervisor claims them: the API process that
created one holds its lease, and when that process dies the reaper ends it as `worker_lost`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crewserve.application.refused import event_instead
from crewserve.domain.errors import ExecutionNotFound, ValueRefused
from crewserve.domain.execution import (
    Claimed,
    Driver,
    Event,
    Execution,
    Raised,
    Returned,
    is_in,
)
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import ExecutionId, FlowName, QueueName, WorkerName
from crewserve.domain.principal import ANYBODY, Principal
from crewserve.domain.realm import Realm
from crewserve.domain.redaction import redact
from crewserve.domain.status import Status
from crewserve.ports import Clock, ExecutionStore, Held, NewId


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution as a hand-written router sees it, in the specification's words."""

    execution_id: str
    flow_name: str
    status: Status
    inputs: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    result: Any
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandDriven:
    """What `execution_store` does while the server runs. Every call blocks until its commit."""

    store: ExecutionStore
    owner: WorkerName
    lease: timedelta
    hold: Callable[[Held], None]
    release: Callable[[Held], None]
    new_id: NewId
    clock: Clock
    asking: Callable[[], Principal | None] = lambda: None
    """Who asks; None when no request does, so that it is the deployment's own code."""

    @property
    def _realm(self) -> Realm | None:
        principal = self.asking()
        return None if principal is None else principal.realm

    def create(self, flow: FlowName, inputs: Mapping[str, Any]) -> ExecutionId:
        """Raises: ScopeMissing; ValueRefused, when *inputs* are no JSON."""
        principal = self.asking() or ANYBODY
        principal.check_execute(flow)
        _check_json(inputs)
        now = self.clock()
        execution = Execution(
            id=self.new_id(),
            flow=flow,
            tenant=principal.tenant,
            status=Status.PENDING,
            turn=Turn(queue=QueueName(flow)),
            driver=Driver.CALLER,
            inputs=inputs,
            created_at=now,
            available_at=now,
            lease_owner=self.owner,
            lease_expires_at=now + self.lease,
        )
        self.store.add(execution).result()
        self.hold(Held(execution.id, execution.fence))
        return execution.id

    def get(self, execution_id: str) -> ExecutionRecord | None:
        """None for an id that is unknown or no id at all."""
        try:
            return _record(self._current(execution_id))
        except (ExecutionNotFound, ValueError):
            return None

    def _current(self, execution_id: str) -> Execution:
        found = self.store.current(ExecutionId(UUID(execution_id))).result()
        if not is_in(found, self._realm):
            raise ExecutionNotFound(found.id)
        return found

    def update(
        self, execution_id: str, status: Status, *, result: Any = None, error: str | None = None
    ) -> None:
        """Move it to *status*; what was skipped on the way (running) is filled in.

        Raises: ExecutionNotFound, InvalidTransition, StaleExecution, ValueError for no id.
        """
        before = self._current(execution_id)
        for event in self._events(before, status, result, error):
            after = self._changed(before.id, event)
            self.release(Held(before.id, before.fence))
            if not after.status.is_terminal:
                self.hold(Held(after.id, after.fence))
            before = after

    def _changed(self, execution_id: ExecutionId, event: Event) -> Execution:
        """A result that cannot be stored ends it as a failure."""
        try:
            if isinstance(event, Returned):
                _check_json(event.result)
            return self.store.change(execution_id, event, now=self.clock()).result()
        except ValueRefused as refusal:
            instead = event_instead(event, refusal)
            return self.store.change(execution_id, instead, now=self.clock()).result()

    def _events(
        self, before: Execution, status: Status, result: Any, error: str | None
    ) -> list[Event]:
        started = Claimed(self.owner, self.clock() + self.lease)
        match status:
            case Status.RUNNING:
                return [started]
            case Status.COMPLETED:
                ended: list[Event] = [Returned(result)]
                return [started, *ended] if before.status is Status.PENDING else ended
            case Status.FAILED:
                message = redact(error or "The flow failed without saying why")
                return [Raised(Failure(code=FailureCode.FLOW_ERROR, message=message))]
            case _:
                raise ValueError(f"A hand-driven execution cannot be set to {status}")


def _check_json(value: Any) -> None:
    """Half characters are refused too: no answer could show them."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueRefused(str(error)) from error


def _record(execution: Execution) -> ExecutionRecord:
    return ExecutionRecord(
        execution_id=str(execution.id),
        flow_name=execution.flow,
        status=execution.status,
        inputs=execution.inputs,
        created_at=execution.created_at,
        started_at=execution.started_at,
        completed_at=execution.completed_at,
        result=execution.result,
        error=execution.failure.message if execution.failure else None,
    )
