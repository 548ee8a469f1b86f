"""How times look on the wire."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer


def to_wire(time: datetime) -> str:
    """ISO 8601, UTC, milliseconds: ``2025-10-26T10:30:00.000Z``."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


WireTime = Annotated[datetime, PlainSerializer(to_wire, return_type=str, when_used="json")]
