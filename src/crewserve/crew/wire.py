"""Messages between the host (in the API process), the template process and its children.

Host and template exchange one JSON object a packet over a ``SOCK_SEQPACKET`` pair; host and child
exchange one JSON object a line over a stream of their own, which the host makes and sends to the
template with the request to fork.
"""

import json
from typing import Any, Final

from pydantic_core import to_json

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of inputs or of a result that fit into one message."""

MAX_PACKET: Final = 128 * 1024
"""Bytes of a control packet; the kernel's default buffer holds at least this."""

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One line. What JSON cannot say becomes text (``str``) or null (NaN, infinities)."""
    return to_json(message, fallback=str, inf_nan_mode="null") + b"\n"


def decode(line: bytes) -> Message:
    """Raises ValueError for anything but a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # as the parser raises for any other
    return message
