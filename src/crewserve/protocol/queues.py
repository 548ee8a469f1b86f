"""Queues on the wire."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from crewserve.domain.flow_control import QueueState
from crewserve.protocol.times import WireTime


class QueueBody(BaseModel):
    """What is in a queue now."""

    name: str
    pending: int = Field(description="Executions that wait, the held ones among them.")
    held: int = Field(description="Of those, how many wait for a limit, or for the end of a pause.")
    running: int
    scheduled: int = Field(description="Whose time has not come: delayed starts, next attempts.")
    oldest_pending_seconds: float | None = Field(description="How long ago it was accepted.")
    paused_at: WireTime | None = Field(description="null: it is not paused.")


class QueueList(BaseModel):
    """All queues, by name."""

    queues: list[QueueBody]


def queue_body(state: QueueState, now: datetime) -> QueueBody:
    """*state* on the wire."""
    age = None if state.oldest is None else (now - state.oldest).total_seconds()
    return QueueBody(
        name=state.name,
        pending=state.ready + state.held,
        held=state.held,
        running=state.running,
        scheduled=state.early,
        oldest_pending_seconds=None if age is None else max(0.0, round(age, 3)),
        paused_at=state.paused_at,
    )


def queue_list(states: Sequence[QueueState], now: datetime) -> QueueList:
    """All of them on the wire."""
    return QueueList(queues=[queue_body(state, now) for state in states])
