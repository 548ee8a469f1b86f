"""One router per flow, as the specification writes them."""

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Body, HTTPException
from pydantic import BaseModel

from benchmarks.baseline.store import ExecutionStatus, execution_store

# mypy knows nothing of the module; it is the same switch that crewserve's children use.
_printer = import_module("crewai_core.printer")


class ExecutionResponse(BaseModel):
    execution_id: str
    status: ExecutionStatus
    message: str


class ExecutionStatusResponse(BaseModel):
    execution_id: str
    flow_name: str
    status: ExecutionStatus
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: Any = None
    error: str | None = None


def make_router(
    name: str, flow_class: Callable[[], Any], request: type[BaseModel], result: type[BaseModel]
) -> APIRouter:
    """`POST /execute` and `GET /execution/{id}` of *flow_class*."""
    router = APIRouter()

    def execute_flow(execution_id: str, **inputs: Any) -> None:
        _printer.set_suppress_console_output(True)
        execution_store.update_status(execution_id, ExecutionStatus.RUNNING)
        try:
            flow = flow_class()
            flow.kickoff(inputs=inputs)
            outcome = result(**flow.state.model_dump(include=set(result.model_fields)))
        except Exception as error:  # noqa: BLE001  # the specification records any failure
            execution_store.update_status(execution_id, ExecutionStatus.FAILED, error=str(error))
            return
        execution_store.update_status(
            execution_id, ExecutionStatus.COMPLETED, result=outcome.model_dump()
        )

    @router.post("/execute")
    async def trigger_flow(
        payload: Annotated[request, Body()],  # type: ignore[valid-type]  # known at run time
        background_tasks: BackgroundTasks,
    ) -> ExecutionResponse:
        inputs: dict[str, Any] = payload.model_dump()  # type: ignore[attr-defined]  # as above
        execution_id = execution_store.create_execution(name, inputs)
        background_tasks.add_task(execute_flow, execution_id, **inputs)
        return ExecutionResponse(
            execution_id=execution_id,
            status=ExecutionStatus.PENDING,
            message=f"Flow execution initiated with ID: {execution_id}",
        )

    @router.get("/execution/{execution_id}")
    async def get_flow_status(execution_id: str) -> ExecutionStatusResponse:
        execution = execution_store.get_execution(execution_id)
        if execution is None:
            raise HTTPException(404, "Execution not found")
        return ExecutionStatusResponse.model_validate(execution, from_attributes=True)

    return router
