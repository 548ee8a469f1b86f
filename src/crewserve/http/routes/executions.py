"""`/api/v1/executions`: all executions of all flows."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.convertors import StringConvertor, register_url_convertor

from crewserve.domain.audit import Action
from crewserve.domain.ids import ExecutionId
from crewserve.domain.query import ExecutionQuery, Order
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.filters import ExecutionFilterQuery, some_of
from crewserve.http.problems import responses
from crewserve.http.routes import events, lifecycle, logs, statistics, steps, usage
from crewserve.http.waiting import WaitQuery, shown_execution
from crewserve.protocol.executions import (
    OPTIONAL_FIELDS,
    ExecutionDetail,
    ExecutionList,
    detail,
    summary_body,
)

router = APIRouter()
router.include_router(lifecycle.router)
router.include_router(steps.router)
router.include_router(events.router)
router.include_router(logs.router)
router.include_router(statistics.router)
router.include_router(usage.of_execution)


class _NoName(StringConvertor):
    """What is no other route here: those have other methods."""

    regex = r"(?!(?:count|histogram)$)[^/]+"


register_url_convertor("no_name", _NoName())

_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class ListQuery(ExecutionFilterQuery):
    """A page of what the filters let through."""

    order: Order = Field(Order.NEWEST, description="By cost, only those are listed that have one.")
    fields: str | None = Field(
        None,
        pattern=some_of(OPTIONAL_FIELDS),
        description="Which of the fields that may be null are wanted; without it, all.",
        examples=["started_at,completed_at"],
    )
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.PATTERN, description="`next_cursor` of the page before."
    )

    def unwanted(self) -> frozenset[str]:
        """Names of fields to leave out."""
        if self.fields is None:
            return frozenset()
        return OPTIONAL_FIELDS - set(self.fields.split(","))


@router.get("", response_model=ExecutionList, responses=responses(_UNPROCESSABLE))
async def list_executions(
    found: Annotated[ListQuery, Query()], state: StateDep, request: Request
) -> Response:
    """All executions of all flows, page by page."""
    unwanted = found.unwanted()
    query = ExecutionQuery(
        **found.fields_of_filter(),
        limit=found.limit + 1,
        order=found.order,
        after=None if found.cursor is None else cursors.decode(found.cursor),
        results="result" not in unwanted,
    )
    executions = await state.executions.page(query)
    page = executions[: found.limit]
    cursor = cursors.encode(page[-1]) if len(executions) > found.limit else None
    shown = [summary_body(execution, tracebacks=state.tracebacks) for execution in page]
    for body in shown if unwanted else ():
        for name in unwanted & body.keys():
            del body[name]
    answer = {"executions": shown, "next_cursor": cursor}
    return json_answer(answer, headers=cursors.links(request, cursor))


@router.get(
    "/{execution_id:no_name}",
    response_model=ExecutionDetail,
    responses=responses(HTTPStatus.NOT_FOUND, _UNPROCESSABLE),
)
async def get_execution(execution_id: UUID, state: StateDep, wait: WaitQuery = 0) -> Response:
    """One execution of any flow, with its inputs and attempts."""
    execution = await shown_execution(state, ExecutionId(execution_id), wait)
    attempts = await state.executions.attempts(execution.id)
    position = await state.executions.position(execution)
    return json_answer(detail(execution, attempts, position, tracebacks=state.tracebacks))


@router.delete(
    "/{execution_id:no_name}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, _UNPROCESSABLE),
)
async def delete_execution(execution_id: UUID, state: StateDep) -> Response:
    """Forget an execution that has ended or not begun, with all its files."""
    await state.executions.delete(ExecutionId(execution_id))
    await state.audit.note(Action.EXECUTION_DELETED, str(execution_id))
    return Response(status_code=HTTPStatus.NO_CONTENT)
