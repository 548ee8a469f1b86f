"""Row to record and back: the whole translation."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row

from crewserve.domain.execution import Cancel, Driver, Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import ExecutionId, FlowName, QueueName, Tenant, WorkerName
from crewserve.domain.labels import NO_LABELS, Labels
from crewserve.domain.policy import DEFAULT, Policy, from_fields, to_fields
from crewserve.domain.status import Status
from crewserve.domain.step import Attempt, Step
from crewserve.ports import Held
from crewserve.storage.tables import executions
from crewserve.storage.usage import AMOUNTS, to_usage

_DEFAULT_FIELDS: Final = to_fields(DEFAULT)


def to_execution(row: Row[Any]) -> Execution:
    """*row* has the columns of an execution's record."""
    owner = row.lease_owner
    return Execution(
        id=ExecutionId(row.id),
        flow=FlowName(row.flow),
        tenant=Tenant(row.tenant),
        driver=Driver(row.driver),
        status=Status(row.status),
        inputs=row.inputs,
        created_at=row.created_at,
        available_at=row.available_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        attempt=row.attempt,
        turn=Turn(
            queue=QueueName(row.queue),
            priority=row.priority,
            key=row.concurrency_key,
            max_running=row.max_running,
        ),
        policy=_policy(row.policy),
        labels=_labels(row.labels),
        parent=None if row.parent is None else ExecutionId(row.parent),
        accepts_changes=row.accepts_changes,
        fence=row.fence,
        lease_owner=None if owner is None else WorkerName(owner),
        lease_expires_at=row.lease_expires_at,
        cancel=to_cancel(row),
        result=row.result,
        failure=None if row.failure_code is None else _to_failure(row),
        usage=None if row.model_calls is None else to_usage(row),
    )


def _policy(fields: Mapping[str, Any]) -> Policy:
    """Nearly every row has the default; telling that is quicker than building it."""
    return DEFAULT if fields == _DEFAULT_FIELDS else from_fields(fields)


def _labels(fields: Mapping[str, Any] | None) -> Labels:
    if fields is None:
        return NO_LABELS
    return Labels(tags=tuple(fields["tags"]), metadata=fields["metadata"])


def to_label_rows(execution: Execution) -> Sequence[Mapping[str, Any]]:
    """All columns, for an insert."""
    return [{"execution": execution.id, **one._asdict()} for one in execution.labels.each()]


def to_cancel(row: Row[Any]) -> Cancel | None:
    """*row* has the columns of a cancel; None when none was requested."""
    if row.cancel_requested_at is None:
        return None
    return Cancel(
        requested_at=row.cancel_requested_at,
        grace=timedelta(seconds=row.cancel_grace_seconds),
        reason=row.cancel_reason,
    )


def _to_failure(row: Row[Any]) -> Failure:
    return Failure(
        code=FailureCode(row.failure_code),
        message=row.failure_message,
        type=row.failure_type,
        step=row.failure_step,
        traceback=row.failure_traceback,
    )


def to_row(execution: Execution) -> Mapping[str, Any]:
    """All columns of the record, for an insert."""
    turn, labels = execution.turn, execution.labels
    return {
        "id": execution.id,
        "flow": execution.flow,
        "tenant": execution.tenant,
        "driver": execution.driver,
        "inputs": execution.inputs,
        "created_at": execution.created_at,
        "policy": to_fields(execution.policy),
        "parent": execution.parent,
        "accepts_changes": execution.accepts_changes,
        "queue": turn.queue,
        "priority": turn.priority,
        "concurrency_key": turn.key,
        "max_running": turn.max_running,
        "labels": {"tags": labels.tags, "metadata": labels.metadata} if labels else None,
        **to_changes(execution),
    }


FIXED: Final = frozenset(
    {
        *{"id", "flow", "tenant", "driver", "inputs", "created_at", "policy", "parent"},
        *{"accepts_changes", "queue", "priority", "concurrency_key", "max_running", "labels"},
    }
)
"""The columns that never change; `to_changes` has all others of `RECORDED`."""

RECORDED: Final = tuple(
    name
    for name in executions.columns.keys()  # noqa: SIM118  # a collection, not a mapping
    if name not in {"dispatched_at", "dispatches", "standing", "place", *AMOUNTS, "cost"}
)
"""The columns of an execution's record that it brings with it.

The others are bookkeeping of announcements and lines, and what its events say that it used.
"""


def to_changes(execution: Execution) -> Mapping[str, Any]:
    """The columns that change after creation, for an update."""
    failure, cancel = execution.failure, execution.cancel
    return {
        "status": execution.status,
        "available_at": execution.available_at,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "attempt": execution.attempt,
        "fence": execution.fence,
        "lease_owner": execution.lease_owner,
        "lease_expires_at": execution.lease_expires_at,
        "cancel_requested_at": cancel.requested_at if cancel else None,
        "cancel_grace_seconds": cancel.grace.total_seconds() if cancel else None,
        "cancel_reason": cancel.reason if cancel else None,
        "result": execution.result,
        "failure_code": failure.code if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_type": failure.type if failure else None,
        "failure_step": failure.step if failure else None,
        "failure_traceback": failure.traceback if failure else None,
    }


def to_step(row: Row[Any]) -> Step:
    """*row* has all columns of `steps`, perhaps without the state."""
    fields = {"state": None, **row._mapping}  # noqa: SLF001  # SQLAlchemy's public name for it
    del fields["execution"], fields["fence"]
    return Step(**fields)


def to_step_row(held: Held, step: Step) -> Mapping[str, Any]:
    """All columns, for an insert. Not `asdict`, which would copy the data."""
    fields = {name: getattr(step, name) for name in Step.__dataclass_fields__}
    return {"execution": held.id, "fence": held.fence, **fields}


def to_attempt(row: Row[Any]) -> Attempt:
    """*row* has all columns of `attempts`."""
    fields = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it
    del fields["execution"]
    return Attempt(**fields)


def to_attempt_row(execution: Execution) -> Mapping[str, Any]:
    """The attempt that has just begun."""
    return {
        "execution": execution.id,
        "fence": execution.fence,
        "number": execution.attempt,
        "worker": execution.lease_owner,
        "started_at": execution.started_at,
    }
