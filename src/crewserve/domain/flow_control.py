"""Which executions may run, and in which order they get their turn."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from crewserve.domain.ids import FlowName, QueueName, Tenant
from crewserve.domain.realm import DEFAULT_TENANT

MAX_PRIORITY: Final = 100
"""The least is as far below zero."""

MAX_KEY: Final = 200
"""Characters. What is longer is known by its digest."""

_QUEUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""It is a segment of a URL and part of the name of a broker's queue."""


class WhenFull(StrEnum):
    """What becomes of a start when as many run as may."""

    ENQUEUE = "enqueue"
    """It waits for its turn."""

    REJECT = "reject"
    """It is refused."""

    CANCEL_RUNNING = "cancel_running"
    """It takes the place of the oldest, which is cancelled, and begins when that has stopped."""


class Standing(StrEnum):
    """Where an execution stands that has not ended. Values are stored; never rename one."""

    EARLY = "early"
    """Its time has not come; the timer lets it in."""

    HELD = "held"
    """As many of its lane run as may, or its queue is paused."""

    READY = "ready"
    """The next free supervisor claims it."""

    TAKEN = "taken"
    """A supervisor has claimed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What decides when an execution gets its turn."""

    queue: QueueName
    priority: int = 0
    """Higher ones go first, always."""
    key: str = ""
    """Executions of one flow with the same key are a lane: they share a limit and a fair part."""
    max_running: int | None = None
    """Of its lane, at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowControl:
    """How many executions of a flow may run and wait, and which go first.

    Raises ValueError when something is out of its range.
    """

    queue: str | None = None
    """Flows may share one; a flow that names none has a queue of its own, called like the flow."""
    priority: int = 0
    """From -100 to 100, unless the caller says otherwise. Higher ones go first, always."""
    max_running: int | None = None
    """At the same time, on all machines; with `per`, of those that have the same value there."""
    per: str | None = None
    """Dotted path of an input, for example ``customer.id``: each value is a lane of its own. Lanes
    take turns, whatever each of them has waiting."""
    when_full: WhenFull = WhenFull.ENQUEUE
    max_pending: int | None = None
    """That may wait; of each lane, like `max_running`. What is more is refused."""

    def __post_init__(self) -> None:
        if self.queue is not None and not _QUEUE.fullmatch(self.queue):
            raise ValueError(f"{self.queue!r} names no queue: use up to 100 of A-Z a-z 0-9 _ . -")
        if abs(self.priority) > MAX_PRIORITY:
            raise ValueError(f"A priority is from {-MAX_PRIORITY} to {MAX_PRIORITY}")
        for name in ("max_running", "max_pending"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise ValueError(f"{name} is at least 1")
        if self.when_full is not WhenFull.ENQUEUE and self.max_running is None:
            raise ValueError(f"when_full={self.when_full} needs max_running")

    def queue_of(self, flow: FlowName) -> QueueName:
        """The queue of *flow*, which this controls."""
        return QueueName(self.queue or flow)

    def turn(
        self,
        flow: FlowName,
        inputs: Mapping[str, Any],
        priority: int | None,
        tenant: Tenant = DEFAULT_TENANT,
    ) -> Turn:
        """Of an execution of *flow*; without *priority*, it has that of the flow.

        Tenants never share a lane: none of them waits for another one, or takes its place.
        """
        key = _key(self.per, inputs) if self.per else ""
        return Turn(
            queue=self.queue_of(flow),
            priority=self.priority if priority is None else priority,
            key=key if tenant == DEFAULT_TENANT and "/" not in key else f"{tenant}/{key}",
            max_running=self.max_running,
        )


NO_CONTROL: Final = FlowControl()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """What is in a queue now."""

    name: QueueName
    ready: int = 0
    running: int = 0
    held: int = 0
    early: int = 0
    oldest: datetime | None = None
    """When the oldest was accepted of those that are ready or held."""
    paused_at: datetime | None = None


def _key(path: str, inputs: Mapping[str, Any]) -> str:
    """What *inputs* have at *path*, as text; what they lack is a lane as well."""
    value: Any = inputs
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) <= MAX_KEY and text.isprintable():
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
