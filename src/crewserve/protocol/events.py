"""Events on the wire, in the words of CrewAI's own streams."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from crewserve.domain.event_log import Channel, Entry
from crewserve.protocol.times import WireTime, to_wire


class EventBody(BaseModel):
    """Something that happened in an execution."""

    seq: int | None = Field(
        description="From 1, in order and without a gap; null for a piece of a text that a model "
        "is still writing."
    )
    id: str | None = Field(description="CrewAI's id of it; null for what the server tells.")
    type: str = Field(description="As CrewAI calls it.", examples=["method_execution_started"])
    channel: Channel
    step: str | None = Field(description="`method`, or `method#2` in its second call.")
    timestamp: WireTime
    parent_id: str | None = Field(description="The id of the event that it happened in.")
    content: str = Field(description="Text to print, of a model that streams; else empty.")
    data: dict[str, Any] = Field(description="What else is told of an event of this type.")


class EventList(BaseModel):
    """One page of the log."""

    events: list[EventBody]
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor` for the next page; null on the last one."
    )


def event_body(entry: Entry) -> Mapping[str, Any]:
    """The fields of `EventBody`."""
    text = entry.data.get("chunk")
    return {
        "seq": entry.sequence or None,
        "id": entry.id,
        "type": entry.type,
        "channel": entry.channel,
        "step": entry.step,
        "timestamp": to_wire(entry.at),
        "parent_id": entry.parent,
        "content": text if isinstance(text, str) else "",
        "data": entry.data,
    }


def event_list(entries: Sequence[Entry], next_cursor: str | None) -> Mapping[str, Any]:
    """The fields of `EventList`."""
    return {"events": [event_body(entry) for entry in entries], "next_cursor": next_cursor}
