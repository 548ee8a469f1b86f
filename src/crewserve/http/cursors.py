"""Page cursors: opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from uuid import UUID

from crewserve.domain.ids import ExecutionId

PATTERN: Final = r"^[A-Za-z0-9_-]{22}$"
"""Whatever matches can be decoded."""


def encode(last: ExecutionId) -> str:
    """A cursor for the page after *last*."""
    return urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def decode(cursor: str) -> ExecutionId:
    """*cursor* matches `PATTERN`."""
    return ExecutionId(UUID(bytes=urlsafe_b64decode(cursor + "==")))
