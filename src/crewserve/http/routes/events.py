"""What happens in an execution: replayed, then live."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from crewserve.application.reading import Position
from crewserve.domain.errors import InvalidEventId
from crewserve.domain.event_log import Channel, Wanted
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import ApiState, StateDep
from crewserve.http.problems import responses
from crewserve.http.sse import (
    POSITION,
    Format,
    accepted_format,
    decode_position,
    is_position,
    stream_answer,
)
from crewserve.protocol.events import EventBody, EventList, event_list

router = APIRouter()

TypeName = Annotated[str, StringConstraints(max_length=100)]

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The `id:` of the last event that was received."),
]

_SCHEMA: Final = {"schema": {"$ref": f"#/components/schemas/{EventBody.__name__}"}}
DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK.value: {
        "description": "A stream, which closes when the execution has ended and all was sent; or "
        "one page, for those who want JSON.",
        "content": {"text/event-stream": _SCHEMA, "application/x-ndjson": _SCHEMA},
    },
    HTTPStatus.NO_CONTENT.value: {
        "description": "It has ended, and nothing happened after what was received."
    },
    **responses(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
}


class EventQuery(BaseModel):
    """Which events, and how; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field("0", pattern=POSITION, description="A `seq`, or the `id:` of a stream.")
    channel: list[Channel] = Field([], max_length=len(Channel))
    type: list[TypeName] = Field([], max_length=50)
    format: Format | None = Field(
        None, description="`sse` and `ndjson` stream, `json` is one page; without it `Accept` says."
    )
    limit: int = Field(100, ge=1, le=1000, description="Of a page.")
    cursor: str | None = Field(
        None, pattern=cursors.STEP_PATTERN, description="`next_cursor` of the page before."
    )

    @property
    def wanted(self) -> Wanted:
        """The filters."""
        return Wanted(frozenset(self.channel), frozenset(self.type))


@router.get("/{execution_id}/events", response_model=EventList, responses=DOCUMENTED)
async def execution_events(
    execution_id: UUID,
    asked: Annotated[EventQuery, Query()],
    state: StateDep,
    request: Request,
    last_event_id: LastEventId = None,
) -> Response:
    """All that happened, and then what happens, as server-sent events."""
    execution = await state.executions.get(ExecutionId(execution_id))
    return await events_answer(request, state, execution, asked, last_event_id)


async def events_answer(
    request: Request,
    state: ApiState,
    execution: Execution,
    asked: EventQuery,
    last_event_id: str | None,
) -> Response:
    """A page or a stream. Raises: InvalidEventId."""
    position = _position(asked, last_event_id)
    form = asked.format or accepted_format(request) or Format.SSE
    if form is Format.JSON:
        return await _page(request, state, execution, asked, position.sequence)
    if await state.events.has_ended(execution, position.sequence, asked.wanted):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return stream_answer(state.events.follow(execution.id, position, asked.wanted), form)


def _position(asked: EventQuery, last_event_id: str | None) -> Position:
    """A browser that connects again sends the query of its first time."""
    if not last_event_id:
        return decode_position(asked.after)
    if not is_position(last_event_id):
        raise InvalidEventId
    return decode_position(last_event_id)


async def _page(
    request: Request, state: ApiState, execution: Execution, asked: EventQuery, after: int
) -> Response:
    if asked.cursor is not None:
        after = cursors.decode_step(asked.cursor)
    found = await state.events.page(
        execution.id, after=after, limit=asked.limit + 1, wanted=asked.wanted
    )
    page = found[: asked.limit]
    cursor = cursors.encode_step(page[-1].sequence) if len(found) > asked.limit else None
    return json_answer(event_list(page, cursor), headers=cursors.links(request, cursor))
