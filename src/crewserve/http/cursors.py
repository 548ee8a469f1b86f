"""Page cursors: opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from uuid import UUID

from crewserve.domain.errors import InvalidCursor
from crewserve.domain.ids import ExecutionId


def encode(last: ExecutionId) -> str:
    """A cursor for the page after *last*."""
    return urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def decode(cursor: str) -> ExecutionId:
    """Raises: InvalidCursor."""
    try:
        return ExecutionId(UUID(bytes=urlsafe_b64decode(cursor + "==")))
    except (ValueError, Error) as error:
        raise InvalidCursor from error
