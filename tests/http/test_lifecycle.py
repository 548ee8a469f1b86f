"""Cancel, retry, fork and steps over HTTP."""

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.domain.errors import FieldError
from crewserve.domain.execution import Driver, Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_step, an_execution
from tests.support.api import Bench, assert_problem

TOPIC = FlowName("topic_flow")
INPUTS = {"topic": "tea", "lines": 3}
STEPS = [a_step(1, name="begin"), a_step(2, name="loop"), a_step(3, name="loop", call=2)]


def stored(bench: Bench, status: Status, **changes: Any) -> Execution:
    execution = an_execution(status, **{"flow": TOPIC, "inputs": INPUTS, **changes})
    bench.store._add(execution, STEPS)
    return execution


def url(execution: Execution, what: str) -> str:
    return f"/executions/{execution.id}/{what}"


async def test_what_has_not_begun_is_cancelled_at_once(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    pending = stored(bench, Status.PENDING)
    answer = await api.post(url(pending, "cancel"), json={"reason": "typo"})
    assert (answer.status_code, answer.json()["status"]) == (HTTPStatus.ACCEPTED, "cancelled")
    shown = (await api.get(f"/executions/{pending.id}")).json()
    assert (shown["cancel_reason"], shown["cancel_requested_at"]) == (
        "typo",
        "2026-01-01T12:00:00.000Z",
    )
    assert bench.cancels == []


@pytest.mark.parametrize(
    ("body", "grace"),
    [
        (None, 5),
        ({"grace_seconds": 60}, 60),
        ({"mode": "force", "grace_seconds": 60}, 0),
    ],
)
async def test_what_runs_is_asked_and_its_supervisor_told(
    api: httpx.AsyncClient, bench: Bench, body: Any, grace: float
) -> None:
    running = stored(bench, Status.RUNNING)
    answer = await api.post(url(running, "cancel"), json=body)
    assert (answer.status_code, answer.json()["status"]) == (HTTPStatus.ACCEPTED, "running")
    cancel = bench.store._rows[running.id].cancel
    assert cancel is not None
    assert (cancel.grace.total_seconds(), bench.cancels) == (grace, [running.id])


async def test_what_has_ended_or_is_driven_by_hand_cannot_be_cancelled(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    ended = stored(bench, Status.COMPLETED)
    answer = await api.post(url(ended, "cancel"))
    assert_problem(answer, HTTPStatus.CONFLICT, "invalid_transition")
    by_hand = stored(bench, Status.RUNNING, driver=Driver.CALLER)
    answer = await api.post(url(by_hand, "cancel"))
    assert_problem(answer, HTTPStatus.CONFLICT, "not_cancellable")


async def test_many_are_counted_before_they_are_cancelled(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    for status in (Status.PENDING, Status.PENDING, Status.RUNNING, Status.COMPLETED):
        stored(bench, status)
    other = an_execution(flow=FlowName("free_flow"))
    bench.store._add(other, [])
    wish = {"flow_name": "topic_flow", "dry_run": True}
    counted = (await api.post("/executions/bulk/cancel", json=wish)).json()
    assert counted == {"matched": 3, "cancelled": 0, "requested": 0, "dry_run": True}
    done = (await api.post("/executions/bulk/cancel", json={**wish, "dry_run": False})).json()
    assert done == {"matched": 3, "cancelled": 2, "requested": 1, "dry_run": False}
    assert bench.store._rows[other.id].status is Status.PENDING
    answer = await api.post("/executions/bulk/cancel", json={"status": "completed"})
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")


async def test_a_retry_keeps_inputs_policy_and_all_steps(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    failure = Failure(code=FailureCode.FLOW_ERROR, message="no")
    policy = Policy(max_attempts=7)
    failed = stored(bench, Status.FAILED, failure=failure, policy=policy)
    answer = await api.post(url(failed, "retry"), json={"accept_changes": True})
    assert answer.status_code == HTTPStatus.ACCEPTED
    again = (await api.get(f"http://test{answer.headers['location']}")).json()
    assert (again["status"], again["parent_id"], again["inputs"], again["max_attempts"]) == (
        "pending",
        str(failed.id),
        INPUTS,
        7,
    )
    steps = (await api.get(f"/executions/{again['execution_id']}/steps")).json()["steps"]
    assert [(step["position"], step["name"], step["call"]) for step in steps] == [
        (1, "begin", 1),
        (2, "loop", 1),
        (3, "loop", 2),
    ]
    assert len(bench.announced) == 1


async def test_only_what_ended_without_a_result_is_retried(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    for status in (Status.PENDING, Status.RUNNING, Status.COMPLETED):
        answer = await api.post(url(stored(bench, status), "retry"))
        assert_problem(answer, HTTPStatus.CONFLICT, "not_retryable")


@pytest.mark.parametrize(
    ("from_step", "kept"), [("begin", 0), ("loop", 1), ("loop#2", 2), (3, 2), ("2", 1)]
)
async def test_a_fork_keeps_the_steps_before(
    api: httpx.AsyncClient, bench: Bench, from_step: Any, kept: int
) -> None:
    done = stored(bench, Status.COMPLETED)
    wish = {"from_step": from_step, "state": {"topic": "coffee"}}
    answer = await api.post(url(done, "fork"), json=wish)
    forked = answer.json()["execution_id"]
    shown = (await api.get(f"/executions/{forked}")).json()
    steps = (await api.get(f"/executions/{forked}/steps")).json()["steps"]
    assert len(steps) == kept
    if kept:
        last = (await api.get(f"/executions/{forked}/steps/{kept}")).json()
        assert last["state"] == {"done": kept, "topic": "coffee"}
        assert shown["inputs"] == INPUTS
    else:
        assert shown["inputs"] == {**INPUTS, "topic": "coffee"}


async def test_a_fork_from_nowhere_or_with_wrong_inputs_is_refused(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    done = stored(bench, Status.COMPLETED)
    answer = await api.post(url(done, "fork"), json={"from_step": "end"})
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "step_not_found")
    assert "begin#1, loop#1, loop#2" in str(problem["detail"])
    wish = {"from_step": "loop", "inputs": {"topic": "tea", "lines": 99}}
    answer = await api.post(url(done, "fork"), json=wish)
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["lines"]  # type: ignore[attr-defined]


async def test_a_fork_with_a_field_that_the_state_does_not_have_is_refused(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    done = stored(bench, Status.COMPLETED)
    bench.host.errors = [FieldError("state.tone", "no such field", "unknown_field")]
    for from_step in ("begin", "loop"):
        wish = {"from_step": from_step, "state": {"tone": "friendly"}}
        answer = await api.post(url(done, "fork"), json=wish)
        problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
        assert [error["field"] for error in problem["errors"]] == ["state.tone"]  # type: ignore[attr-defined]
    assert list(bench.store._rows) == [done.id]


async def test_a_caller_chooses_how_often_and_how_long(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    options = "timeout_seconds=9.5&max_attempts=2&backoff_seconds=0&retry_on=timeout"
    await api.post(f"/topic-flow/execute?{options}&retry_on=flow_error", json={"topic": "tea"})
    [execution] = bench.store._rows.values()
    assert execution.policy == Policy(
        max_attempts=2,
        retry_on=frozenset({FailureCode.TIMEOUT, FailureCode.FLOW_ERROR}),
        backoff_seconds=0,
        timeout_seconds=9.5,
    )
    answer = await api.post("/topic-flow/execute?max_attempts=0", json={"topic": "tea"})
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


async def test_attempts_are_listed(api: httpx.AsyncClient, bench: Bench) -> None:
    running = stored(bench, Status.PENDING)
    bench.store.claim(
        WorkerName("ann:1:0:00"), flows=[TOPIC], limit=1, lease_expires_at=NOW, now=NOW
    ).result()
    [attempt] = (await api.get(f"/executions/{running.id}")).json()["attempts"]
    assert (attempt["number"], attempt["worker"], attempt["outcome"]) == (1, "ann:1:0:00", None)


@pytest.mark.parametrize(
    "state", [{"a": {"$model": "os:system"}}, {"$dict": 1}, {"x": [{"$t": 1}]}]
)
async def test_a_fork_s_state_cannot_speak_the_journal_s_language(
    api: httpx.AsyncClient, bench: Bench, state: dict[str, Any]
) -> None:
    done = stored(bench, Status.COMPLETED)
    answer = await api.post(url(done, "fork"), json={"from_step": "loop", "state": state})
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    answer = await api.post(
        url(done, "fork"),
        content=b'{"from_step": "loop", "state": {"a": "\\ud800"}}',
        headers={"Content-Type": "application/json"},
    )
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
