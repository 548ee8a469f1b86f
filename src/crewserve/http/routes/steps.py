"""What an execution has finished, step by step."""

from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.ids import ExecutionId
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.executions import StepDetail, StepList, step_detail, step_list

router = APIRouter()

MAX_POSITION: Final = 2**31 - 1

_PROBLEMS = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)


class StepPage(BaseModel):
    """Which part of the steps; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.STEP_PATTERN, description="`next_cursor` of the page before."
    )


@router.get("/{execution_id}/steps", response_model=StepList, responses=_PROBLEMS)
async def list_steps(
    execution_id: UUID, page: Annotated[StepPage, Query()], state: StateDep, request: Request
) -> Response:
    """The finished steps with their results, in the order in which they ended."""
    after = 0 if page.cursor is None else cursors.decode_step(page.cursor)
    found = await state.executions.step_page(
        ExecutionId(execution_id), after=after, limit=page.limit + 1
    )
    steps = found[: page.limit]
    cursor = cursors.encode_step(steps[-1].position) if len(found) > page.limit else None
    return json_answer(step_list(steps, cursor), headers=cursors.links(request, cursor))


@router.get("/{execution_id}/steps/{position}", response_model=StepDetail, responses=_PROBLEMS)
async def get_step(
    execution_id: UUID, position: Annotated[int, Path(ge=1, le=MAX_POSITION)], state: StateDep
) -> Response:
    """One finished step, with the flow's state after it."""
    step = await state.executions.step(ExecutionId(execution_id), position)
    return json_answer(step_detail(step))
