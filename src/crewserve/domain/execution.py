"""The execution record and the one function that changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from crewserve.domain.errors import InvalidTransition
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import TRANSITIONS, Status


class Driver(StrEnum):
    """Who runs an execution."""

    WORKER = "worker"
    """A supervisor claims it and runs it in a process of its own."""

    CALLER = "caller"
    """A hand-written router runs it inside the API process; no supervisor touches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One request to run one flow, with everything known about it so far."""

    id: ExecutionId
    flow: FlowName
    status: Status
    inputs: Mapping[str, Any]
    created_at: datetime
    driver: Driver = Driver.WORKER
    max_attempts: int = 1
    attempt: int = 0
    """1 for the first try. Grows with each claim; a hand-back takes it back."""
    fence: int = 0
    """Grows with each claim and never shrinks; a write that shows an older one is refused."""
    available_at: datetime
    """No supervisor claims it before this time."""
    started_at: datetime | None = None
    """Of the latest attempt."""
    completed_at: datetime | None = None
    """Set once, on entering a terminal status."""
    lease_owner: WorkerName | None = None
    lease_expires_at: datetime | None = None
    """Both are set exactly while somebody is responsible for it."""
    cancel_requested_at: datetime | None = None
    result: Any = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """*owner* is responsible for it until *lease_expires_at*, unless it renews."""

    owner: WorkerName
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Returned:
    """The flow finished. *result* is JSON data."""

    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The attempt ended without a result and is not tried again."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """Nobody renewed the lease in time; *reason* says what is known about it."""

    reason: str


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The supervisor stops before the flow finished; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A caller asked to stop and nothing of it runs any more."""


Event = Claimed | Returned | Raised | LeaseExpired | HandedBack | Cancelled


def apply(execution: Execution, event: Event, *, now: datetime) -> Execution:
    """Return *execution* as it is after *event*.

    Raises:
        InvalidTransition: the event makes no sense in the current status.
    """
    match event:
        case Claimed(owner, lease_expires_at):
            return _claimed(execution, owner, lease_expires_at, now)
        case Returned(result):
            return _ended(execution, Status.COMPLETED, now, result=result)
        case Raised(failure):
            return _ended(execution, Status.FAILED, now, failure=failure)
        case LeaseExpired(reason):
            return _expired(execution, reason, now)
        case HandedBack():
            return _requeued(execution, now, attempt=execution.attempt - 1)
        case Cancelled():
            return _ended(execution, Status.CANCELLED, now)
        case _:
            assert_never(event)


def _claimed(
    execution: Execution, owner: WorkerName, lease_expires_at: datetime, now: datetime
) -> Execution:
    _check(execution, Status.RUNNING)
    return replace(
        execution,
        status=Status.RUNNING,
        attempt=execution.attempt + 1,
        fence=execution.fence + 1,
        started_at=now,
        lease_owner=owner,
        lease_expires_at=lease_expires_at,
    )


def _expired(execution: Execution, reason: str, now: datetime) -> Execution:
    """Cancel wins over retry; a caller's execution is never tried again."""
    if execution.cancel_requested_at is not None:
        return _ended(execution, Status.CANCELLED, now)
    retried = execution.driver is Driver.WORKER and execution.attempt < execution.max_attempts
    if retried:
        return _requeued(execution, now, attempt=execution.attempt)
    failure = Failure(code=FailureCode.WORKER_LOST, message=reason)
    return _ended(execution, Status.FAILED, now, failure=failure)


def _requeued(execution: Execution, now: datetime, *, attempt: int) -> Execution:
    _check(execution, Status.PENDING)
    return replace(
        execution,
        status=Status.PENDING,
        attempt=attempt,
        available_at=now,
        started_at=None,
        lease_owner=None,
        lease_expires_at=None,
    )


def _ended(
    execution: Execution,
    status: Status,
    now: datetime,
    *,
    result: Any = None,
    failure: Failure | None = None,
) -> Execution:
    _check(execution, status)
    return replace(
        execution,
        status=status,
        completed_at=now,
        lease_owner=None,
        lease_expires_at=None,
        result=result,
        failure=failure,
    )


def _check(execution: Execution, target: Status) -> None:
    if target not in TRANSITIONS[execution.status]:
        raise InvalidTransition(execution.status, target)
