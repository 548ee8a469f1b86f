"""What was used, and what it cost."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Response

from crewserve.domain.ids import ExecutionId
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.usage import ExecutionUsage, execution_usage

of_execution = APIRouter()


@of_execution.get(
    "/{execution_id}/usage",
    response_model=ExecutionUsage,
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_usage(execution_id: UUID, state: StateDep) -> Response:
    """What an execution used until now, by step, agent and model."""
    execution, parts = await state.executions.usage(ExecutionId(execution_id))
    return json_answer(execution_usage(execution.usage, parts))
