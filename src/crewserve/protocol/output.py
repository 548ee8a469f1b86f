"""Lines of output on the wire."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, Field

from crewserve.domain.output import Level, Line, Stream
from crewserve.protocol.times import WireTime, to_wire

_UNPRINTABLE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Colours, and what else a terminal would obey."""


class LineBody(BaseModel):
    """One line that was printed, or one record that was logged."""

    seq: int = Field(description="Grows, with gaps between attempts. Pass it as `after`.")
    timestamp: WireTime
    attempt: int
    stream: Stream
    level: Level | None = Field(description="Only of `log`.")
    logger: str | None = Field(description="Only of `log`.")
    step: str | None = Field(
        description="`method`, or `method#2` in its second call; null when it is not known."
    )
    text: str


class LineList(BaseModel):
    """One page, in order."""

    lines: list[LineBody]
    next_after: int | None = Field(
        None, description="Pass it as `after` for the next page; null on the last one."
    )


def line_body(line: Line) -> Mapping[str, Any]:
    """The fields of `LineBody`."""
    return {
        "seq": line.sequence,
        "timestamp": to_wire(line.at),
        "attempt": line.attempt,
        "stream": line.stream,
        "level": line.level,
        "logger": line.logger,
        "step": line.step,
        "text": line.text,
    }


def line_list(lines: Sequence[Line], next_after: int | None) -> Mapping[str, Any]:
    """The fields of `LineList`."""
    return {"lines": [line_body(line) for line in lines], "next_after": next_after}


def plain_line(line: Line) -> str:
    """For people."""
    head = f"{to_wire(line.at)} {line.level or line.stream:<8} {line.step or '-'}"
    named = f" {line.logger}:" if line.logger else ""
    return f"{head}{named} {_UNPRINTABLE.sub('', line.text)}\n"
