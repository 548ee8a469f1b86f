"""Page cursors: opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from uuid import UUID

from fastapi import Request

from crewserve.domain.execution import Execution
from crewserve.domain.ids import AuditId, ExecutionId
from crewserve.domain.query import Place

PATTERN: Final = r"^[A-Za-z0-9_-]{32}$"
"""Whatever matches can be decoded, and is a place in any order."""

MAX_COST: Final = 2**63 - 1
"""A database has no greater number."""

ID_PATTERN: Final = r"^[A-Za-z0-9_-]{22}$"
"""The same for ids alone."""

STEP_PATTERN: Final = r"^[A-Za-f][A-Za-z0-9_-]{5}$"
"""The same for steps, whose positions have 31 bits."""


MAX_NAME: Final = 300
"""Bytes; a host's name has at most 64."""

NAME_PATTERN: Final = rf"^([0-9a-f]{{2}}){{1,{MAX_NAME}}}$"
"""The same for names."""


def encode(last: Execution) -> str:
    """A cursor for the page after *last*."""
    cost = (last.usage and last.usage.cost) or 0
    return _text(cost.to_bytes(8) + last.id.bytes)


def decode(cursor: str) -> Place:
    """*cursor* matches `PATTERN`."""
    data = _bytes(cursor)
    cost = min(int.from_bytes(data[:8]), MAX_COST)
    return Place(cost, ExecutionId(UUID(bytes=data[8:])))


def encode_id(last: AuditId) -> str:
    """A cursor for the page after *last*."""
    return _text(last.bytes)


def decode_id(cursor: str) -> AuditId:
    """*cursor* matches `ID_PATTERN`."""
    return AuditId(UUID(bytes=_bytes(cursor)))


def encode_step(position: int) -> str:
    """A cursor for the page after the step at *position*."""
    return _text(position.to_bytes(4))


def decode_step(cursor: str) -> int:
    """*cursor* matches `STEP_PATTERN`."""
    return int.from_bytes(_bytes(cursor))


def encode_name(last: str) -> str:
    """A cursor for the page after *last*."""
    return last.encode().hex()


def decode_name(cursor: str) -> str:
    """*cursor* matches `NAME_PATTERN`."""
    return bytes.fromhex(cursor).decode(errors="replace")


def links(request: Request, cursor: str | None) -> dict[str, str]:
    """RFC 8288: where the next page is, if there is one."""
    if cursor is None:
        return {}
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'}


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")
