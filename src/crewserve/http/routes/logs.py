"""What an execution prints and logs: a page, all of it, or while it comes."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.output import Level, Line, Stream, WantedLines
from crewserve.http.answers import json_answer
from crewserve.http.deps import ApiState, StateDep
from crewserve.http.problems import responses
from crewserve.http.sse import QUIET_SECONDS, STREAMING
from crewserve.protocol.output import LineBody, LineList, line_body, line_list, plain_line

router = APIRouter()

MAX_SEQUENCE: Final = 2**53 - 1


class LogFormat(StrEnum):
    """How lines are answered."""

    JSON = "json"
    NDJSON = "ndjson"
    TEXT = "text"


_FORMATS: Final = {
    "application/json": LogFormat.JSON,
    "application/x-ndjson": LogFormat.NDJSON,
    "application/jsonl": LogFormat.NDJSON,
    "text/plain": LogFormat.TEXT,
}

DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK.value: {
        "description": "One page; or, as lines of JSON or of text, all of them, and with `follow` "
        "those that come until the execution has ended.",
        "content": {
            "application/x-ndjson": {
                "schema": {"$ref": f"#/components/schemas/{LineBody.__name__}"}
            },
            "text/plain": {"schema": {"type": "string"}},
        },
    },
    **responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
}


class LogQuery(BaseModel):
    """Which lines, and how; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=MAX_SEQUENCE, description="A `seq`: only what came after it.")
    limit: int = Field(100, ge=1, le=1000, description="Of a page of JSON.")
    stream: list[Stream] = Field([], max_length=len(Stream))
    level: Level | None = Field(
        None, description="Records of this level or a worse one; nothing that was only printed."
    )
    step: str | None = Field(None, max_length=200, examples=["write"])
    follow: bool = Field(default=False, description="Go on until the execution has ended.")
    format: LogFormat | None = Field(None, description="Without it `Accept` says.")

    @property
    def wanted(self) -> WantedLines:
        """The filters."""
        levels = self.level.and_above if self.level else ()
        return WantedLines(frozenset(self.stream), levels, self.step)


@router.get("/{execution_id}/logs", response_model=LineList, responses=DOCUMENTED)
async def execution_logs(
    execution_id: UUID, asked: Annotated[LogQuery, Query()], state: StateDep, request: Request
) -> Response:
    """What it printed and logged, page by page, or while it does."""
    execution = await state.executions.get(ExecutionId(execution_id))
    return await logs_answer(request, state, execution, asked)


async def logs_answer(
    request: Request, state: ApiState, execution: Execution, asked: LogQuery
) -> Response:
    """A page or a stream."""
    form = asked.format or _accepted(request)
    if form is LogFormat.JSON and not asked.follow:
        return await _page(request, state, execution, asked)
    way = _WAYS[LogFormat.NDJSON if form is LogFormat.JSON else form]
    lines = state.output.follow if asked.follow else state.output.all
    sent = _sent(lines(execution.id, asked.after, asked.wanted), way)
    return StreamingResponse(sent, headers=STREAMING, media_type=way.media_type)


def _accepted(request: Request) -> LogFormat:
    for media_type in ",".join(request.headers.getlist("accept")).split(","):
        if found := _FORMATS.get(media_type.partition(";")[0].strip().lower()):
            return found
    return LogFormat.JSON


async def _page(
    request: Request, state: ApiState, execution: Execution, asked: LogQuery
) -> Response:
    found = await state.output.page(
        execution.id, after=asked.after, limit=asked.limit + 1, wanted=asked.wanted
    )
    page = found[: asked.limit]
    following = page[-1].sequence if len(found) > asked.limit else None
    links = {}
    if following is not None:
        url = request.url.include_query_params(after=following)
        links["Link"] = f'<{url}>; rel="next"'
    return json_answer(line_list(page, following), headers=links)


class _Way(NamedTuple):
    media_type: str
    line: Callable[[Line], bytes]
    heartbeat: bytes
    """Sent when nothing comes, as proxies close what is silent; nothing in a text for people."""


_WAYS: Final = {
    LogFormat.NDJSON: _Way(
        "application/x-ndjson", lambda line: to_json(line_body(line)) + b"\n", b"\n"
    ),
    LogFormat.TEXT: _Way(
        "text/plain; charset=utf-8", lambda line: plain_line(line).encode(errors="replace"), b""
    ),
}


async def _sent(lines: AsyncGenerator[Sequence[Line], None], way: _Way) -> AsyncIterator[bytes]:
    last = time.monotonic()
    async with aclosing(lines):
        async for some in lines:
            if some:
                yield b"".join(map(way.line, some))
            elif time.monotonic() - last < QUIET_SECONDS:
                continue
            else:
                yield way.heartbeat
            last = time.monotonic()
