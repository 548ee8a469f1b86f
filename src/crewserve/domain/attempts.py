"""How one attempt of an execution ended."""

from collections.abc import Collection
from typing import NamedTuple

from crewserve.domain.execution import Event, Execution, HandedBack, LeaseExpired, Raised
from crewserve.domain.failure import FailureCode
from crewserve.domain.ids import WorkerName
from crewserve.domain.status import Status


class EndedAttempt(NamedTuple):
    """How one attempt ended."""

    outcome: str
    code: str | None = None
    error: str | None = None


def ended_attempt(before: Execution, event: Event, after: Execution) -> EndedAttempt | None:
    """What *event* says of the attempt that ran; None when none did, or it goes on."""
    if before.status is not Status.RUNNING or after.status is Status.RUNNING:
        return None
    match event:
        case Raised(failure, _) if after.status is not Status.CANCELLED:
            return EndedAttempt("failed", failure.code, failure.message)
        case LeaseExpired(reason):
            return EndedAttempt("lost", FailureCode.WORKER_LOST, reason)
        case HandedBack():
            return EndedAttempt("handed_back")
        case _:
            return EndedAttempt(after.status)


def lease_lost_reason(execution: Execution, lost: Collection[WorkerName]) -> str:
    """What to tell about an execution that a store reaps."""
    if execution.lease_owner in lost:
        return "The server that ran it was stopped or killed before the flow had finished"
    return "Nothing was heard of the server that ran it until its lease expired"
