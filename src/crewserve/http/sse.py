"""Streams of events: server-sent events, or a line of JSON each.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from crewserve.application.reading import TEXTS_AT_ONCE, Position, Shown
from crewserve.protocol.events import event_body

QUIET_SECONDS: Final = 10.0
"""After which something is sent even so: proxies close what is silent for a minute."""

RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds that a browser waits before it connects again."""

POSITION: Final = rf"^[0-9]{{1,9}}(;[0-9a-f]{{8}}=[0-9]{{1,7}}){{0,{TEXTS_AT_ONCE}}}$"
"""What ``id:`` looks like: the number of the last event, and how much of which texts was sent."""


class Format(StrEnum):
    """How events are answered."""

    SSE = "sse"
    NDJSON = "ndjson"
    JSON = "json"
    """One page, no stream."""


_FORMATS: Final = {
    "text/event-stream": Format.SSE,
    "application/x-ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/json": Format.JSON,
}


def accepted_format(request: Request) -> Format | None:
    """The first of those that ``Accept`` names; None when it names none."""
    for media_type in ",".join(request.headers.getlist("accept")).split(","):
        if found := _FORMATS.get(media_type.partition(";")[0].strip().lower()):
            return found
    return None


def encode_position(position: Position) -> str:
    """For ``id:``."""
    texts = "".join(f";{key}={shown}" for key, shown in position.shown.items())
    return f"{position.sequence}{texts}"


def decode_position(text: str) -> Position:
    """*text* matches `POSITION`."""
    sequence, *texts = text.split(";")
    shown = (one.partition("=") for one in texts)
    return Position(int(sequence), {key: int(number) for key, _, number in shown})


def is_position(text: str) -> bool:
    """Whether it can be decoded."""
    return re.fullmatch(POSITION, text) is not None


@dataclass(frozen=True, slots=True)
class _Way:
    media_type: str
    opening: bytes
    event: Callable[[Shown], bytes]
    heartbeat: bytes


def _sse_event(shown: Shown) -> bytes:
    body = to_json(event_body(shown.entry))  # on one line: JSON has no line breaks
    return b"id: %b\ndata: %b\n\n" % (encode_position(shown.position).encode(), body)


def _line(shown: Shown) -> bytes:
    return to_json(event_body(shown.entry)) + b"\n"


_WAYS: Final = {
    Format.SSE: _Way("text/event-stream", RETRY, _sse_event, b": heartbeat\n\n"),
    Format.NDJSON: _Way("application/x-ndjson", b"", _line, b"\n"),
}

STREAMING: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Neither caches nor nginx shall keep back what is sent."""


def stream_answer(
    followed: AsyncGenerator[Sequence[Shown], None],
    form: Format,
    headers: dict[str, str] | None = None,
) -> StreamingResponse:
    """Send what is followed, as it comes."""
    way = _WAYS[form]
    return StreamingResponse(
        _sent(followed, way), headers={**STREAMING, **(headers or {})}, media_type=way.media_type
    )


async def _sent(followed: AsyncGenerator[Sequence[Shown], None], way: _Way) -> AsyncIterator[bytes]:
    if way.opening:
        yield way.opening
    last = time.monotonic()
    async with aclosing(followed):
        async for some in followed:
            if some:
                yield b"".join(map(way.event, some))
            elif time.monotonic() - last < QUIET_SECONDS:
                continue
            else:
                yield way.heartbeat
            last = time.monotonic()
