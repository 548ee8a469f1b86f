"""The execution record and the one function that changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, assert_never

from crewserve.domain.errors import InvalidTransition
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import Standing, Turn
from crewserve.domain.ids import ExecutionId, FlowName, Tenant, WorkerName
from crewserve.domain.labels import NO_LABELS, Labels
from crewserve.domain.policy import DEFAULT, Policy
from crewserve.domain.realm import DEFAULT_TENANT, Realm
from crewserve.domain.status import TRANSITIONS, Status
from crewserve.domain.usage import Usage

GRACE: Final = timedelta(seconds=5)
"""What a running execution gets to stop by itself, unless somebody says otherwise."""


class Driver(StrEnum):
    """Who runs an execution."""

    WORKER = "worker"
    """A supervisor claims it and runs it in a process of its own."""

    CALLER = "caller"
    """A hand-written router runs it inside the API process; no supervisor touches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Somebody asked to stop an execution."""

    requested_at: datetime
    grace: timedelta
    """How long it may take to stop by itself; none with ``force``."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One request to run one flow, with everything known about it so far."""

    id: ExecutionId
    flow: FlowName
    tenant: Tenant = DEFAULT_TENANT
    """Whose it is."""
    status: Status
    inputs: Mapping[str, Any]
    created_at: datetime
    turn: Turn
    driver: Driver = Driver.WORKER
    policy: Policy = DEFAULT
    labels: Labels = NO_LABELS
    parent: ExecutionId | None = None
    """The execution whose recorded steps it began with."""
    accepts_changes: bool = False
    """Whether recorded steps may be continued by other code than that which ran them."""
    attempt: int = 0
    """1 for the first try. Grows with each claim; a hand-back takes it back."""
    fence: int = 0
    """Grows with each claim and never shrinks; a write that shows an older one is refused."""
    available_at: datetime
    """Before this time nobody runs it."""
    started_at: datetime | None = None
    """Of the latest attempt."""
    completed_at: datetime | None = None
    """Set once, on entering a terminal status."""
    lease_owner: WorkerName | None = None
    lease_expires_at: datetime | None = None
    """Both are set exactly while somebody is responsible for it."""
    cancel: Cancel | None = None
    result: Any = None
    failure: Failure | None = None
    usage: Usage | None = None
    """Of all attempts, as far as the log has told it; None: nothing. Events never change it."""


def is_in(execution: Execution, realm: Realm | None) -> bool:
    """Whether it exists for those who live there."""
    return realm is None or realm.has(execution.tenant, execution.flow)


_STANDING: Final = frozenset({Status.PENDING, Status.RUNNING})


def standing(execution: Execution, now: datetime) -> Standing | None:
    """Where it asks to stand; it is held until its lane, if that is limited, has a place.

    None: no supervisor will ever run it.
    """
    if execution.driver is Driver.CALLER or execution.status not in _STANDING:
        return None
    if execution.status is Status.RUNNING:
        return Standing.TAKEN
    if execution.available_at > now:
        return Standing.EARLY
    return Standing.READY if execution.turn.max_running is None else Standing.HELD


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
    """The attempt ended without a result; another follows if the policy allows it."""

    failure: Failure
    jitter: float = 0.0
    """In [0, 1]; see `Policy.delay`."""


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """Nobody renewed the lease in time; *reason* says what is known about it."""

    reason: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A caller wants it to stop. What does not run ends at once."""

    grace: timedelta
    reason: str | None = None


def giving_way(to: ExecutionId) -> CancelRequested:
    """For the oldest of a lane that is full, when another one shall run instead."""
    return CancelRequested(GRACE, f"Execution {to} took its place")


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The supervisor stops before the flow finished; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A caller asked to stop and nothing of it runs any more."""


Event = Claimed | Returned | Raised | LeaseExpired | HandedBack | CancelRequested | Cancelled


def apply(execution: Execution, event: Event, *, now: datetime) -> Execution:
    """Return *execution* as it is after *event*.

    Raises:
        InvalidTransition: the event makes no sense in the current status.
    """
    match event:
        case Claimed(owner, lease_expires_at):
            after = _claimed(execution, owner, lease_expires_at, now)
        case Returned(result):
            after = _ended(execution, Status.COMPLETED, now, result=result)
        case Raised(failure, jitter):
            delay = execution.policy.delay(execution.attempt, jitter=jitter)
            after = _raised(execution, failure, now, delay)
        case LeaseExpired(reason):
            failure = Failure(code=FailureCode.WORKER_LOST, message=reason)
            after = _raised(execution, failure, now, timedelta())
        case HandedBack():
            after = _handed_back(execution, now)
        case CancelRequested(grace, reason):
            after = _cancel_requested(execution, grace, reason, now)
        case Cancelled():
            after = _ended(execution, Status.CANCELLED, now)
        case _:
            assert_never(event)
    return after


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


def _raised(execution: Execution, failure: Failure, now: datetime, delay: timedelta) -> Execution:
    """Cancel wins over retry; a caller's execution is never tried again."""
    if execution.cancel is not None:
        return _ended(execution, Status.CANCELLED, now)
    ours = execution.driver is Driver.WORKER and execution.status is Status.RUNNING
    if ours and execution.policy.may_retry(failure.code, attempt=execution.attempt):
        return _requeued(execution, now + delay, attempt=execution.attempt)
    return _ended(execution, Status.FAILED, now, failure=failure)


def _handed_back(execution: Execution, now: datetime) -> Execution:
    if execution.cancel is not None:
        return _ended(execution, Status.CANCELLED, now)
    return _requeued(execution, now, attempt=execution.attempt - 1)


def _cancel_requested(
    execution: Execution, grace: timedelta, reason: str | None, now: datetime
) -> Execution:
    """Asking again may shorten the grace; the first time and reason stay."""
    asked = execution.cancel
    if asked is None:
        asked = Cancel(requested_at=now, grace=grace, reason=reason)
    cancelled = replace(execution, cancel=replace(asked, grace=min(asked.grace, grace)))
    if execution.status is Status.RUNNING:
        return cancelled
    return _ended(cancelled, Status.CANCELLED, now)


def _requeued(execution: Execution, available_at: datetime, *, attempt: int) -> Execution:
    _check(execution, Status.PENDING)
    return replace(
        execution,
        status=Status.PENDING,
        attempt=attempt,
        available_at=available_at,
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
