"""Executions on the wire: the specification's bodies, key by key."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.status import Status
from crewserve.protocol.times import WireTime

ExecutionStatus = Status
"""The specification's name of it."""


class ExecutionResponse(BaseModel):
    """The answer to a started execution."""

    execution_id: str = Field(description="Ask for the result with this id.")
    status: ExecutionStatus
    message: str

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "execution_id": "0199f3a4-6c1e-7b52-9d0a-2f1f7f1b9c11",
                    "status": "pending",
                    "message": "Poem flow execution initiated with ID: "
                    "0199f3a4-6c1e-7b52-9d0a-2f1f7f1b9c11",
                }
            ]
        }
    )


class ErrorDetails(BaseModel):
    """More about a failure than its sentence."""

    code: FailureCode = Field(description="Stable: programs may decide by it.")
    type: str | None = Field(None, description="Class of the flow's exception.")
    step: str | None = Field(None, description="The flow method that raised.")
    traceback: str | None = Field(None, description="Only on servers that are not exposed.")


def _is_none(value: object) -> bool:
    return value is None


class ExecutionStatusResponse(BaseModel):
    """An execution as it is now."""

    execution_id: str
    flow_name: str
    status: ExecutionStatus
    created_at: WireTime
    started_at: WireTime | None = None
    completed_at: WireTime | None = None
    result: Any = None
    error: str | None = Field(None, description="What went wrong, in the flow's own words.")
    error_details: ErrorDetails | None = Field(
        None, exclude_if=_is_none, description="Present when the execution failed."
    )


class ExecutionDetail(ExecutionStatusResponse):
    """Everything that is known of an execution."""

    inputs: Mapping[str, Any]
    attempt: int = Field(description="1 for the first try, 0 before it.")
    max_attempts: int
    worker: str | None = Field(None, description="The process that holds it now.")


class ExecutionList(BaseModel):
    """One page, newest first."""

    executions: list[ExecutionStatusResponse]
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor` for the next page; null on the last one."
    )


def status_fields(execution: Execution, *, tracebacks: bool) -> dict[str, Any]:
    """The fields of `ExecutionStatusResponse`."""
    failure = execution.failure
    return {
        "execution_id": str(execution.id),
        "flow_name": execution.flow,
        "status": execution.status,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "result": execution.result,
        "error": failure.message if failure else None,
        "error_details": _details(failure, tracebacks=tracebacks) if failure else None,
    }


def detail(execution: Execution, *, tracebacks: bool) -> ExecutionDetail:
    """*execution* with all that is known of it."""
    return ExecutionDetail(
        **status_fields(execution, tracebacks=tracebacks),
        inputs=execution.inputs,
        attempt=execution.attempt,
        max_attempts=execution.max_attempts,
        worker=execution.lease_owner,
    )


def _details(failure: Failure, *, tracebacks: bool) -> ErrorDetails:
    return ErrorDetails(
        code=failure.code,
        type=failure.type,
        step=failure.step,
        traceback=failure.traceback if tracebacks else None,
    )
