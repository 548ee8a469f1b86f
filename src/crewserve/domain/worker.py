"""Who runs executions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from crewserve.domain.ids import FlowName, WorkerName

HEARTBEAT: Final = timedelta(seconds=5)
SILENT_AFTER: Final = 3 * HEARTBEAT
FORGOTTEN_AFTER: Final = timedelta(days=1)


class WorkerState(StrEnum):
    """Whether a worker takes executions, and whether it lives."""

    ACTIVE = "active"
    """It takes executions."""

    DRAINING = "draining"
    """It takes none, and lets those that run come to their end."""

    STOPPED = "stopped"
    """It ended in order. It is shown for a day."""

    LOST = "lost"
    """Its process is gone, or nothing was heard of it for 15 s. It is shown for a day; one that
    was only frozen is back with its next heartbeat."""


PRESENT: Final = frozenset({WorkerState.ACTIVE, WorkerState.DRAINING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A supervisor, as it tells of itself with each heartbeat."""

    name: WorkerName
    host: str
    pid: int
    version: str
    engine: Literal["local", "celery"]
    flows: tuple[FlowName, ...]
    slots: int
    memory_bytes: int
    """Resident, of its own process and its template processes."""
    started_at: datetime
    heartbeat_at: datetime
    state: WorkerState = WorkerState.ACTIVE
    drain_requested_at: datetime | None = None
    running: int = 0
    """Leases that it holds: not told by it, but counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerQuery:
    """Which workers, by name. What is None or empty does not filter."""

    states: frozenset[WorkerState] = frozenset()
    flow: FlowName | None = None
    limit: int = 100
    after: WorkerName | None = None
    """Only workers after this one: the last of the page before."""
