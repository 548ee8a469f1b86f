"""Row to record and back: the whole translation."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row

from crewserve.domain.execution import Driver, Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status


def to_execution(row: Row[Any]) -> Execution:
    """*row* has all columns of `executions`."""
    owner = row.lease_owner
    return Execution(
        id=ExecutionId(row.id),
        flow=FlowName(row.flow),
        driver=Driver(row.driver),
        status=Status(row.status),
        inputs=row.inputs,
        created_at=row.created_at,
        available_at=row.available_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        fence=row.fence,
        lease_owner=None if owner is None else WorkerName(owner),
        lease_expires_at=row.lease_expires_at,
        cancel_requested_at=row.cancel_requested_at,
        result=row.result,
        failure=None if row.failure_code is None else _to_failure(row),
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
    """All columns, for an insert."""
    return {
        "id": execution.id,
        "flow": execution.flow,
        "driver": execution.driver,
        "inputs": execution.inputs,
        "created_at": execution.created_at,
        "max_attempts": execution.max_attempts,
        **to_changes(execution),
    }


FIXED: Final = frozenset({"id", "flow", "driver", "inputs", "created_at", "max_attempts"})
"""The columns that never change; `to_changes` has all others."""


def to_changes(execution: Execution) -> Mapping[str, Any]:
    """The columns that change after creation, for an update."""
    failure = execution.failure
    return {
        "status": execution.status,
        "available_at": execution.available_at,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "attempt": execution.attempt,
        "fence": execution.fence,
        "lease_owner": execution.lease_owner,
        "lease_expires_at": execution.lease_expires_at,
        "cancel_requested_at": execution.cancel_requested_at,
        "result": execution.result,
        "failure_code": failure.code if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_type": failure.type if failure else None,
        "failure_step": failure.step if failure else None,
        "failure_traceback": failure.traceback if failure else None,
    }
