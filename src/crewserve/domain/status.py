"""The execution state machine, as data.

``TRANSITIONS`` is the only place that says what may follow what. The stores, the worker, the API
and ``docs/state-machine.md`` are derived from it or tested against it.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """Where an execution is in its life. Values are stored and served; never rename one."""

    PENDING = "pending"
    """Accepted and durable. The next free supervisor claims it."""

    RUNNING = "running"
    """A supervisor holds the lease. When it stops renewing, the reaper ends or requeues it."""

    WAITING = "waiting"
    """The flow asked a person. No process is held; the answer makes it pending again."""

    COMPLETED = "completed"
    """The flow finished and its result is recorded."""

    FAILED = "failed"
    """The last allowed attempt ended without a result; ``failure`` says why."""

    CANCELLED = "cancelled"
    """Stopped on request; nothing of it runs any more."""

    @property
    def is_terminal(self) -> bool:
        """Whether this status never changes again."""
        return not TRANSITIONS[self]


TRANSITIONS: Final = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
        Status.RUNNING: frozenset(
            {
                Status.COMPLETED,
                Status.FAILED,
                Status.CANCELLED,
                Status.WAITING,
                Status.PENDING,  # handed back, or its lease expired with attempts left
            }
        ),
        Status.WAITING: frozenset({Status.PENDING, Status.CANCELLED, Status.FAILED}),
        Status.COMPLETED: frozenset[Status](),
        Status.FAILED: frozenset[Status](),
        Status.CANCELLED: frozenset[Status](),
    }
)

TERMINAL: Final = frozenset(status for status in Status if status.is_terminal)
