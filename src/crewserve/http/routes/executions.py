"""`/api/v1/executions`: all executions of all flows."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.status import Status
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.http.routes import lifecycle, steps
from crewserve.ports import ExecutionQuery
from crewserve.protocol.executions import (
    ExecutionDetail,
    ExecutionList,
    detail,
    status_body,
)

router = APIRouter()
router.include_router(lifecycle.router)
router.include_router(steps.router)

_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class ListFilter(BaseModel):
    """What the list may be asked for; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    flow_name: str | None = Field(None, max_length=100, examples=["poem_flow"])
    status: Status | None = None
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.PATTERN, description="`next_cursor` of the page before."
    )


@router.get("", response_model=ExecutionList, responses=responses(_UNPROCESSABLE))
async def list_executions(
    found: Annotated[ListFilter, Query()], state: StateDep, request: Request
) -> Response:
    """All executions, newest first."""
    query = ExecutionQuery(
        flow=None if found.flow_name is None else FlowName(found.flow_name),
        status=found.status,
        limit=found.limit + 1,
        before=None if found.cursor is None else cursors.decode(found.cursor),
    )
    executions = await state.executions.page(query)
    page = executions[: found.limit]
    cursor = cursors.encode(page[-1].id) if len(executions) > found.limit else None
    shown = [status_body(execution, tracebacks=state.tracebacks) for execution in page]
    answer = {"executions": shown, "next_cursor": cursor}
    return json_answer(answer, headers=cursors.links(request, cursor))


@router.get(
    "/{execution_id}",
    response_model=ExecutionDetail,
    responses=responses(HTTPStatus.NOT_FOUND, _UNPROCESSABLE),
)
async def get_execution(execution_id: UUID, state: StateDep) -> Response:
    """One execution of any flow, with its inputs and attempts."""
    execution = await state.executions.get(ExecutionId(execution_id))
    attempts = await state.executions.attempts(execution.id)
    return json_answer(detail(execution, attempts, tracebacks=state.tracebacks))


@router.delete(
    "/{execution_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, _UNPROCESSABLE),
)
async def delete_execution(execution_id: UUID, state: StateDep) -> Response:
    """Forget an execution that has ended or not begun, with all its files."""
    await state.executions.delete(ExecutionId(execution_id))
    return Response(status_code=HTTPStatus.NO_CONTENT)
