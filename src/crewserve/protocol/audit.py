"""The audit log on the wire."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from crewserve.domain.audit import Action, AuditEntry
from crewserve.protocol.times import WireTime


class AuditBody(BaseModel):
    """One thing that somebody did."""

    id: str
    at: WireTime
    actor: str = Field(description="The id of a key, `this machine`, `token` or `cli`.")
    tenant: str
    action: Action
    target: str = Field(description="The id or name of what it was done to.")
    details: dict[str, Any]


class AuditList(BaseModel):
    """One page, the newest first."""

    entries: list[AuditBody]
    next_cursor: str | None = Field(None, description="Ask for the next page with it.")


def audit_list(entries: Sequence[AuditEntry], cursor: str | None) -> AuditList:
    """*entries* as they are shown."""
    return AuditList(entries=[_body(entry) for entry in entries], next_cursor=cursor)


def _body(entry: AuditEntry) -> AuditBody:
    return AuditBody(
        id=str(entry.id),
        at=entry.at,
        actor=entry.actor,
        tenant=entry.tenant,
        action=entry.action,
        target=entry.target,
        details=dict(entry.details),
    )
