"""Stopping executions, and doing them again."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response

from crewserve.application.executions import Executions
from crewserve.application.forks import Wish
from crewserve.domain.audit import Action
from crewserve.domain.errors import (
    ExecutionNotFound,
    InvalidTransition,
    NotCancellable,
    StaleExecution,
)
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.status import Status
from crewserve.http.answers import json_answer
from crewserve.http.checks import check_json
from crewserve.http.deps import StateDep
from crewserve.http.idempotency import OPENAPI, key_of, started_answer
from crewserve.http.problems import responses
from crewserve.protocol.executions import (
    BulkCancelRequest,
    BulkCancelResponse,
    CancelRequest,
    ExecutionResponse,
    ForkRequest,
    RetryRequest,
)

router = APIRouter()

AT_ONCE = 200

_NOT_FOUND, _CONFLICT = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
_UNPROCESSABLE, _TOO_MANY = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS


@router.post(
    "/bulk/cancel",
    response_model=BulkCancelResponse,
    responses=responses(HTTPStatus.BAD_REQUEST, _UNPROCESSABLE),
)
async def cancel_executions(wish: BulkCancelRequest, state: StateDep) -> Response:
    """Cancel all that match and have not ended. With `dry_run`, only count them."""
    flow = None if wish.flow_name is None else FlowName(wish.flow_name)
    found = await state.executions.active(flow, wish.status)
    ended: list[Status] = []
    for start in range(0, 0 if wish.dry_run else len(found), AT_ONCE):
        part = found[start : start + AT_ONCE]
        ended += await asyncio.gather(*(_cancelled(state.executions, one, wish) for one in part))
    if not wish.dry_run:
        which = {"flow_name": wish.flow_name, "status": wish.status, "reason": wish.reason}
        await state.audit.note(
            Action.EXECUTIONS_CANCELLED, wish.flow_name or "*", matched=len(found), **which
        )
    answer = BulkCancelResponse(
        matched=len(found),
        cancelled=ended.count(Status.CANCELLED),
        requested=ended.count(Status.RUNNING),
        dry_run=wish.dry_run,
    )
    return json_answer(answer)


async def _cancelled(executions: Executions, one: ExecutionId, wish: CancelRequest) -> Status:
    """What it is afterwards; one that ended meanwhile is no error."""
    try:
        return (await executions.cancel(one, wish.grace, wish.reason)).status
    except (ExecutionNotFound, InvalidTransition, NotCancellable, StaleExecution):
        return Status.COMPLETED


@router.post(
    "/{execution_id}/cancel",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ExecutionResponse,
    responses=responses(HTTPStatus.BAD_REQUEST, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE),
)
async def cancel_execution(
    execution_id: UUID, state: StateDep, wish: CancelRequest | None = None
) -> Response:
    """Stop an execution. When it says `cancelled`, nothing of it runs any more."""
    wish = wish or CancelRequest()
    cancelled = await state.executions.cancel(ExecutionId(execution_id), wish.grace, wish.reason)
    await state.audit.note(Action.EXECUTION_CANCELLED, str(execution_id), reason=wish.reason)
    ended = cancelled.status is Status.CANCELLED
    message = "Cancelled before it ran" if ended else "Cancel requested; ask for its status"
    return json_answer(_answer(cancelled, message), HTTPStatus.ACCEPTED)


@router.post(
    "/{execution_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ExecutionResponse,
    responses=responses(HTTPStatus.BAD_REQUEST, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE, _TOO_MANY),
    openapi_extra=OPENAPI,
)
async def retry_execution(
    execution_id: UUID, state: StateDep, http: Request, wish: RetryRequest | None = None
) -> Response:
    """Start a new execution that goes on where a failed or cancelled one stopped."""
    retry, before = state.executions.retry, ExecutionId(execution_id)
    wished = _wish(wish or RetryRequest())
    started = await state.executions.once(
        await key_of(http), lambda key: retry(before, wished, key)
    )
    return started_answer(started, _parent_of(http))


@router.post(
    "/{execution_id}/fork",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ExecutionResponse,
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        _NOT_FOUND,
        _CONFLICT,
        _UNPROCESSABLE,
        _TOO_MANY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
    openapi_extra=OPENAPI,
)
async def fork_execution(
    execution_id: UUID, wish: ForkRequest, state: StateDep, http: Request
) -> Response:
    """Start a new execution that keeps the steps before `from_step` and runs the rest."""
    check_json({"inputs": wish.inputs, "state": wish.state})
    fork, before = state.executions.fork, ExecutionId(execution_id)
    wished = replace(
        _wish(wish), from_step=str(wish.from_step), state=wish.state, inputs=wish.inputs
    )
    started = await state.executions.once(await key_of(http), lambda key: fork(before, wished, key))
    return started_answer(started, _parent_of(http))


def _wish(given: RetryRequest) -> Wish:
    budget = given.budget.budget() if given.budget else None
    return Wish(accepts_changes=given.accept_changes, budget=budget)


def _parent_of(http: Request) -> str:
    return http.url.path.rsplit("/", 2)[0]


def _answer(execution: Execution, message: str) -> ExecutionResponse:
    return ExecutionResponse(
        execution_id=str(execution.id), status=execution.status, message=message
    )
