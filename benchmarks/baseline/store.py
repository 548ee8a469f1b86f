"""Executions in a dictionary."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Any
from uuid import uuid4


class ExecutionStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Execution:
    execution_id: str
    flow_name: str
    inputs: dict[str, Any]
    status: ExecutionStatus = ExecutionStatus.PENDING
    created_at: datetime = field(default_factory=_now)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: Any = None
    error: str | None = None


class ExecutionStore:
    """Everything in it is lost when the process ends."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._lock = Lock()

    def create_execution(self, flow_name: str, inputs: dict[str, Any]) -> str:
        execution = Execution(str(uuid4()), flow_name, inputs)
        with self._lock:
            self._executions[execution.execution_id] = execution
        return execution.execution_id

    def get_execution(self, execution_id: str) -> Execution | None:
        return self._executions.get(execution_id)

    def update_status(
        self,
        execution_id: str,
        status: ExecutionStatus,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        with self._lock:
            execution = self._executions[execution_id]
            execution.status = status
            if status is ExecutionStatus.RUNNING:
                execution.started_at = _now()
            else:
                execution.completed_at = _now()
            execution.result = result
            execution.error = error


execution_store = ExecutionStore()
