from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewserve.domain.errors import InvalidTransition
from crewserve.domain.execution import (
    Cancelled,
    CancelRequested,
    Claimed,
    Driver,
    Event,
    HandedBack,
    LeaseExpired,
    Raised,
    Returned,
    apply,
)
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import WorkerName
from crewserve.domain.policy import MAX_BACKOFF_SECONDS, Policy
from crewserve.domain.status import TRANSITIONS, Status
from crewserve.testing.builders import NOW, a_cancel, an_execution

ANN = WorkerName("ann:1:0:00")
FAILURE = Failure(code=FailureCode.FLOW_ERROR, message="boom")
EVENTS: dict[str, tuple[Event, Status]] = {
    "claimed": (Claimed(ANN, NOW + timedelta(seconds=30)), Status.RUNNING),
    "returned": (Returned({"poem": "roses"}), Status.COMPLETED),
    "raised": (Raised(FAILURE), Status.FAILED),
    "lease expired": (LeaseExpired("gone"), Status.FAILED),
    "handed back": (HandedBack(), Status.PENDING),
    "cancelled": (Cancelled(), Status.CANCELLED),
}


@pytest.mark.parametrize(("status", "name"), list(product(Status, EVENTS)))
def test_every_event_in_every_status_does_what_the_table_says(status: Status, name: str) -> None:
    event, target = EVENTS[name]
    before = an_execution(status, attempt=1)
    if target in TRANSITIONS[status]:
        assert apply(before, event, now=NOW).status is target
    else:
        with pytest.raises(InvalidTransition, match=f"that is {status} cannot become {target}"):
            apply(before, event, now=NOW)


def test_a_claim_counts_the_attempt_and_raises_the_fence() -> None:
    claimed = apply(an_execution(attempt=1, fence=4), EVENTS["claimed"][0], now=NOW)
    assert (claimed.attempt, claimed.fence, claimed.lease_owner) == (2, 5, ANN)


def test_a_hand_back_takes_the_attempt_back_but_never_the_fence() -> None:
    back = apply(an_execution(Status.RUNNING), HandedBack(), now=NOW)
    assert (back.attempt, back.fence, back.lease_owner, back.started_at) == (0, 1, None, None)


def test_a_worker_that_is_lost_with_attempts_left_is_replaced() -> None:
    again = apply(an_execution(Status.RUNNING, max_attempts=2), LeaseExpired("gone"), now=NOW)
    assert (again.status, again.attempt, again.available_at) == (Status.PENDING, 1, NOW)


def test_the_last_lost_worker_is_a_failure_that_says_so() -> None:
    failed = apply(an_execution(Status.RUNNING), LeaseExpired("gone"), now=NOW)
    assert failed.failure == Failure(code=FailureCode.WORKER_LOST, message="gone")


def test_a_requested_cancel_wins_over_a_retry() -> None:
    running = an_execution(Status.RUNNING, max_attempts=2, cancel=a_cancel())
    assert apply(running, LeaseExpired("gone"), now=NOW).status is Status.CANCELLED


def test_a_caller_s_execution_is_never_tried_again() -> None:
    running = an_execution(Status.RUNNING, driver=Driver.CALLER, max_attempts=5)
    assert apply(running, LeaseExpired("gone"), now=NOW).status is Status.FAILED


def test_a_failure_that_the_policy_retries_waits_longer_each_time() -> None:
    policy = Policy(max_attempts=9, retry_on=frozenset({FailureCode.FLOW_ERROR}))
    delays = []
    for attempt in (1, 2, 3):
        running = an_execution(Status.RUNNING, policy=policy, attempt=attempt)
        again = apply(running, Raised(FAILURE), now=NOW)
        assert (again.status, again.attempt, again.failure) == (Status.PENDING, attempt, None)
        delays.append((again.available_at - NOW).total_seconds())
    assert delays == [1, 2, 4]
    assert policy.delay(60, jitter=1.0).total_seconds() == MAX_BACKOFF_SECONDS / 2


def test_a_failure_that_the_policy_does_not_name_is_final() -> None:
    assert apply(an_execution(Status.RUNNING, max_attempts=9), Raised(FAILURE), now=NOW).failure


def test_a_cancel_ends_what_does_not_run_and_asks_what_does() -> None:
    event = CancelRequested(timedelta(seconds=5), "enough")
    for status in (Status.PENDING, Status.WAITING):
        ended = apply(an_execution(status), event, now=NOW)
        assert (ended.status, ended.cancel) == (Status.CANCELLED, a_cancel())
    asked = apply(an_execution(Status.RUNNING), event, now=NOW)
    assert (asked.status, asked.cancel, asked.fence) == (Status.RUNNING, a_cancel(), 1)
    again = apply(asked, CancelRequested(timedelta(), "now"), now=NOW + timedelta(1))
    assert again.cancel == a_cancel(grace=0)
    for event_after in (HandedBack(), Raised(FAILURE), Cancelled()):
        assert apply(asked, event_after, now=NOW).status is Status.CANCELLED
    assert apply(asked, Returned(1), now=NOW).status is Status.COMPLETED


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12), st.integers(1, 3))
def test_whatever_happens_the_record_stays_consistent(names: list[str], max_attempts: int) -> None:
    execution = an_execution(max_attempts=max_attempts)
    for event, _ in (EVENTS[name] for name in names):
        try:
            after = apply(execution, event, now=NOW)
        except InvalidTransition:
            continue
        assert not execution.status.is_terminal
        assert (after.completed_at is not None) == after.status.is_terminal
        assert (after.lease_owner is not None) == (after.status is Status.RUNNING)
        assert after.fence >= execution.fence
        assert after.attempt >= 0
        execution = after
