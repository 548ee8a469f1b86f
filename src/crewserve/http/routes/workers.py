"""`/api/v1/workers`: who runs executions."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.audit import Action
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.worker import WorkerQuery, WorkerState
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.workers import WorkerBody, WorkerList, worker_body

router = APIRouter(prefix="/api/v1/workers", tags=["workers"])

WorkerId = Annotated[str, Path(max_length=cursors.MAX_NAME)]

_UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY
_ONE: Final = responses(HTTPStatus.NOT_FOUND, _UNPROCESSABLE)
_CHANGED: Final = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, _UNPROCESSABLE)


class WorkerFilter(BaseModel):
    """What the list may be asked for; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    state: list[WorkerState] = Field([], max_length=20, description="One of these, if several.")
    flow_name: str | None = Field(None, max_length=100, examples=["poem_flow"])
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.NAME_PATTERN, description="`next_cursor` of the page before."
    )


@router.get("", response_model=WorkerList, responses=responses(_UNPROCESSABLE))
async def list_workers(
    found: Annotated[WorkerFilter, Query()], state: StateDep, request: Request
) -> Response:
    """All workers that were heard of since yesterday, by id."""
    query = WorkerQuery(
        states=frozenset(found.state),
        flow=None if found.flow_name is None else FlowName(found.flow_name),
        limit=found.limit + 1,
        after=None if found.cursor is None else WorkerName(cursors.decode_name(found.cursor)),
    )
    workers = await state.workers.page(query)
    page = workers[: found.limit]
    cursor = cursors.encode_name(page[-1].name) if len(workers) > found.limit else None
    answer = WorkerList(workers=[worker_body(one) for one in page], next_cursor=cursor)
    return json_answer(answer, headers=cursors.links(request, cursor))


@router.get("/{worker_id}", response_model=WorkerBody, responses=_ONE)
async def get_worker(worker_id: WorkerId, state: StateDep) -> Response:
    """One worker."""
    return json_answer(worker_body(await state.workers.get(WorkerName(worker_id))))


@router.post(
    "/{worker_id}/drain",
    status_code=HTTPStatus.ACCEPTED,
    response_model=WorkerBody,
    responses=_CHANGED,
)
async def drain_worker(worker_id: WorkerId, state: StateDep) -> Response:
    """Let it take nothing more; what it runs comes to its end, however long that takes.

    A `crewserve worker` ends then by itself. An API goes on answering requests.
    """
    drained = await state.workers.drain(WorkerName(worker_id))
    await state.audit.note(Action.WORKER_DRAINED, worker_id)
    return json_answer(worker_body(drained), HTTPStatus.ACCEPTED)


@router.post(
    "/{worker_id}/resume",
    status_code=HTTPStatus.ACCEPTED,
    response_model=WorkerBody,
    responses=_CHANGED,
)
async def resume_worker(worker_id: WorkerId, state: StateDep) -> Response:
    """Take a drain back, as long as the worker has not ended."""
    resumed = await state.workers.resume(WorkerName(worker_id))
    await state.audit.note(Action.WORKER_RESUMED, worker_id)
    return json_answer(worker_body(resumed), HTTPStatus.ACCEPTED)
