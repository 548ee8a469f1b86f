"""What was used, and what it cost."""

from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from crewserve.domain.ids import ExecutionId
from crewserve.domain.usage import UsageGrouping
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.filters import ExecutionFilterQuery, some_of
from crewserve.http.problems import responses
from crewserve.protocol.usage import ExecutionUsage, UsageReport, execution_usage, usage_report

of_execution = APIRouter()
router = APIRouter(prefix="/api/v1/usage", tags=["usage"])

MAX_GROUPS: Final = 1000


class UsageQuery(ExecutionFilterQuery):
    """Of which executions; with `model`, only what was used of that one."""

    group_by: str | None = Field(
        None,
        pattern=some_of(UsageGrouping),
        description="Some of `flow_name`, `day`, `model`, `agent`, separated by commas.",
        examples=["day,model"],
    )

    @property
    def groupings(self) -> list[UsageGrouping]:
        names = self.group_by.split(",") if self.group_by else []
        return [UsageGrouping(name) for name in dict.fromkeys(names)]


@of_execution.get(
    "/{execution_id}/usage",
    response_model=ExecutionUsage,
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_usage(execution_id: UUID, state: StateDep) -> Response:
    """What an execution used until now, by step, agent and model."""
    execution, parts = await state.executions.usage(ExecutionId(execution_id))
    return json_answer(execution_usage(execution.usage, parts))


@router.get("", response_model=UsageReport, responses=responses(HTTPStatus.UNPROCESSABLE_ENTITY))
async def report_usage(found: Annotated[UsageQuery, Query()], state: StateDep) -> Response:
    """What executions used, together and by flow, day, model and agent."""
    by = found.groupings
    total, groups = await state.executions.usage_by(found.filter(), by, MAX_GROUPS + 1)
    return json_answer(usage_report(total, groups, by, MAX_GROUPS))
