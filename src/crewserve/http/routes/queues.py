"""`/api/v1/queues`: what waits, and whether it may begin."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from crewserve.domain.audit import Action
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.queues import QueueBody, QueueList, queue_body, queue_list

router = APIRouter(prefix="/api/v1/queues", tags=["queues"])

_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE


@router.get("", response_model=QueueList, responses=responses(_UNAVAILABLE))
async def list_queues(state: StateDep) -> Response:
    """The queues of all served flows, and any other that has something in it."""
    return json_answer(queue_list(await state.queues.all(), state.queues.clock()))


@router.post(
    "/{name}/pause",
    response_model=QueueBody,
    responses=responses(HTTPStatus.NOT_FOUND, _UNAVAILABLE),
)
async def pause_queue(name: str, state: StateDep) -> Response:
    """Let nothing more of it begin, on any machine. What runs goes on."""
    paused = await state.queues.pause(name)
    await state.audit.note(Action.QUEUE_PAUSED, paused.name)
    return json_answer(queue_body(paused, state.queues.clock()))


@router.post(
    "/{name}/resume",
    response_model=QueueBody,
    responses=responses(HTTPStatus.NOT_FOUND, _UNAVAILABLE),
)
async def resume_queue(name: str, state: StateDep) -> Response:
    """Let what waited begin."""
    resumed = await state.queues.resume(name)
    await state.audit.note(Action.QUEUE_RESUMED, resumed.name)
    return json_answer(queue_body(resumed, state.queues.clock()))
