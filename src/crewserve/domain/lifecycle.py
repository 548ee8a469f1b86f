"""What the server itself tells of an execution: accepted, attempts, cancel, end."""

from datetime import datetime
from typing import Any, Final

from crewserve.domain.event_log import Channel, Entry
from crewserve.domain.execution import (
    CancelRequested,
    Claimed,
    Event,
    Execution,
    HandedBack,
    LeaseExpired,
    Raised,
)
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.status import TERMINAL, Status

ENDS: Final = frozenset(f"execution_{status}" for status in TERMINAL)
"""Types of the last entry of an execution. Nothing follows it."""


def ends(entry: Entry) -> bool:
    """Whether it is the last of its execution. Users' events may be called like it."""
    return entry.id is None and entry.type in ENDS


def accepted(execution: Execution) -> Entry:
    """Of every execution the first."""
    data: dict[str, Any] = {"flow_name": execution.flow}
    if execution.parent is not None:
        data["parent_id"] = str(execution.parent)
    return _entry("execution_accepted", execution.created_at, **data)


def attempt_started(execution: Execution, now: datetime) -> Entry:
    """*execution* was just claimed."""
    return _entry("attempt_started", now, attempt=execution.attempt)


def changed(before: Execution, event: Event, after: Execution, now: datetime) -> Entry | None:
    """What `apply` has done; None when there is nothing to tell."""
    if after.status.is_terminal:
        return _entry(f"execution_{after.status}", now, **_ending(after))
    match event:
        case Claimed():
            return attempt_started(after, now)
        case CancelRequested(grace, reason):
            seconds = grace.total_seconds()
            return _entry("cancel_requested", now, grace_seconds=seconds, reason=reason)
        case _ if before.status is Status.RUNNING:
            return _entry("attempt_ended", now, attempt=before.attempt, **_reason(event))
        case _:
            return None


def _ending(execution: Execution) -> dict[str, Any]:
    failure, cancel = execution.failure, execution.cancel
    data: dict[str, Any] = {"attempt": execution.attempt}
    if failure is not None:
        data |= _failure(failure)
    if execution.status is Status.CANCELLED and cancel is not None:
        data["reason"] = cancel.reason
    return data


def _reason(event: Event) -> dict[str, Any]:
    match event:
        case Raised(failure, _):
            return {"outcome": "failed", **_failure(failure)}
        case LeaseExpired(reason):
            return {"outcome": "lost", "code": FailureCode.WORKER_LOST, "error": reason}
        case HandedBack():
            return {"outcome": "handed_back"}
        case _:
            return {}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "error": failure.message,
        "error_type": failure.type,
        "step": failure.step,
    }


def _entry(type_: str, at: datetime, **data: Any) -> Entry:
    return Entry(type=type_, channel=Channel.LIFECYCLE, at=at, data=data)
