"""How times look on the wire."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, PlainSerializer

_DATE: Final = re.compile(r"\d{4}-\d")


def to_wire(time: datetime) -> str:
    """ISO 8601, UTC, milliseconds: ``2025-10-26T10:30:00.000Z``."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_written(value: object) -> object:
    """Pydantic would take a number for seconds, or for milliseconds."""
    if isinstance(value, str) and not _DATE.match(value):
        raise ValueError("it must look like 2027-01-01T09:00:00Z")
    return value


GivenTime = Annotated[AwareDatetime, BeforeValidator(_as_written)]
"""ISO 8601 with an offset."""

WireTime = Annotated[datetime, PlainSerializer(to_wire, return_type=str, when_used="json")]
