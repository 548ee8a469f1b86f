"""Who did what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from crewserve.domain.ids import AuditId, Tenant


class Action(StrEnum):
    """What is worth remembering. Values are stored; never rename one."""

    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    EXECUTION_CANCELLED = "execution.cancelled"
    EXECUTIONS_CANCELLED = "executions.cancelled"
    """Many at once; `details` say which, and how many."""
    EXECUTION_DELETED = "execution.deleted"
    QUEUE_PAUSED = "queue.paused"
    QUEUE_RESUMED = "queue.resumed"
    WORKER_DRAINED = "worker.drained"
    WORKER_RESUMED = "worker.resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did. Entries are added and never changed."""

    id: AuditId
    at: datetime
    tenant: Tenant
    actor: str
    """See `Principal.name`; `cli` for the command line."""
    action: Action
    target: str
    """The id or name of what it was done to."""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """One page, the newest first. What is None does not filter."""

    actor: str | None = None
    action: Action | None = None
    target: str | None = None
    tenant: Tenant | None = None
    after: AuditId | None = None
    """Only what is older: the last of the page before."""
    limit: int = 100
