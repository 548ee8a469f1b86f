"""Answers that wait for the end of an execution, if it comes soon.

``Prefer: wait`` is of RFC 7240.
"""

import re
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from crewserve.application.reading import Position
from crewserve.domain.execution import Execution
from crewserve.domain.idempotency import Started
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.http.answers import json_answer
from crewserve.http.deps import ApiState
from crewserve.http.idempotency import started_answer, started_headers
from crewserve.http.sse import Format, accepted_format, stream_answer
from crewserve.protocol.executions import status_body

MAX_WAIT: Final = 60
"""Seconds; proxies close what is silent for longer."""

WaitQuery = Annotated[
    float, Query(ge=0, le=MAX_WAIT, description="Answer when it has ended, or after these seconds.")
]

_WAIT: Final = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,6})"?\s*(?=[,;]|$)', re.IGNORECASE)

OPENAPI: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": f"`wait=30` answers 200 with the execution when it ends within 30 seconds, of "
    f"{MAX_WAIT} at most.",
    "schema": {"type": "string"},
}


async def shown_execution(
    state: ApiState, execution_id: ExecutionId, wait: float, *, flow: FlowName | None = None
) -> Execution:
    """See `Executions.get`; with *wait*, not before it has ended or these seconds are over."""
    execution = await state.executions.get(execution_id, flow=flow)
    if not wait or execution.status.is_terminal:
        return execution
    return await state.events.when_ended(execution_id, within=timedelta(seconds=wait))


_STREAMS: Final = (Format.SSE, Format.NDJSON)


def is_plain(request: Request) -> bool:
    """Whether *request* asks for neither a stream nor a wait."""
    return not any(
        name == b"prefer" or (name == b"accept" and value not in (b"*/*", b"application/json"))
        for name, value in request.scope["headers"]
    )


async def answer_to_start(
    request: Request, state: ApiState, started: Started, parent: str
) -> Response:
    """As *request* prefers: what was started, its end, or all that happens in it."""
    if is_plain(request):
        return started_answer(started, parent)
    form = accepted_format(request)
    if form in _STREAMS:
        followed = state.events.follow(started.id, Position())
        return stream_answer(followed, form, started_headers(started, parent))
    wait = _preferred_wait(request)
    if wait is None:
        return started_answer(started, parent)
    applied = {"Preference-Applied": f"wait={wait}"}
    execution = await state.events.when_ended(started.id, within=timedelta(seconds=wait))
    if not execution.status.is_terminal:
        return started_answer(started, parent, applied)
    headers = {**started_headers(started, parent), **applied}
    body = status_body(execution, tracebacks=state.tracebacks)
    return json_answer(body, HTTPStatus.OK, headers)


def _preferred_wait(request: Request) -> int | None:
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found[1]), MAX_WAIT) if found else None
