"""Limits, priorities, delays and queues over HTTP."""

from collections.abc import AsyncIterator
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.domain.execution import Returned
from crewserve.domain.flow_control import FlowControl, WhenFull
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.http.flow_router import flow_router
from crewserve.testing.builders import NOW
from tests.support.api import Bench, a_bench, assert_problem

TOO_MANY, UNPROCESSABLE = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNPROCESSABLE_ENTITY
ANN = WorkerName("ann:1:0:00")
EACH = FlowControl(queue="shared", max_running=1, per="customer.id", max_pending=2, priority=3)
SINGLE = FlowControl(queue="shared", max_running=1, when_full=WhenFull.REJECT)
NEWEST = FlowControl(max_running=1, when_full=WhenFull.CANCEL_RUNNING)


@pytest.fixture
def bench() -> Bench:
    return a_bench(
        flow_router("m:EachFlow", control=EACH),
        flow_router("m:SingleFlow", control=SINGLE),
        flow_router("m:NewestFlow", control=NEWEST),
    )


@pytest.fixture
async def api(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        yield client


async def start(api: httpx.AsyncClient, flow: str, inputs: Any = None, query: str = "") -> str:
    answer = await api.post(f"/{flow}/execute?{query}", json=inputs or {})
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    return str(answer.json()["execution_id"])


async def shown(api: httpx.AsyncClient, execution: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/executions/{execution}")).json()
    return found


def claim(bench: Bench) -> list[ExecutionId]:
    flows = [FlowName(name) for name in ("each_flow", "single_flow", "newest_flow", "free_flow")]
    claimed = bench.store.claim(ANN, flows=flows, limit=9, lease_expires_at=NOW, now=NOW)
    return [one.id for one in claimed.result()]


def turn(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("queue", "priority", "concurrency_key", "position"))


async def test_an_execution_shows_its_turn(api: httpx.AsyncClient, bench: Bench) -> None:
    first = await start(api, "each-flow", {"customer": {"id": 7}})
    second = await start(api, "each-flow", {"customer": {"id": 7}}, "priority=-5")
    free = await start(api, "free-flow")
    assert turn(await shown(api, first)) == ("shared", 3, "7", 1)
    assert turn(await shown(api, second)) == ("shared", -5, "7", 1)
    assert turn(await shown(api, free)) == ("free_flow", 0, None, 1)
    claim(bench)
    assert turn(await shown(api, first)) == ("shared", 3, "7", None)


@pytest.mark.parametrize("customer", [None, {}, {"id": None}, [1], "x"])
async def test_inputs_without_the_key_are_a_lane_as_well(
    api: httpx.AsyncClient, customer: Any
) -> None:
    found = await shown(api, await start(api, "each-flow", {"customer": customer}))
    assert found["concurrency_key"] is None


@pytest.mark.parametrize("given", ["x" * 5000, "a\nb", "\0", {"a": ["x" * 300]}])
async def test_any_value_may_be_a_key(api: httpx.AsyncClient, given: Any) -> None:
    found = await shown(api, await start(api, "each-flow", {"customer": {"id": given}}))
    assert found["concurrency_key"].startswith("sha256:")


async def test_a_full_queue_is_told_with_when_and_where(api: httpx.AsyncClient) -> None:
    for _ in range(2):
        await start(api, "each-flow")
    answer = await api.post("/each-flow/execute", json={})
    problem = assert_problem(answer, TOO_MANY, "queue_full")
    assert "number 3" in str(problem["detail"])
    assert answer.headers["retry-after"] == "5"
    await start(api, "each-flow", {"customer": {"id": "another"}})


async def test_a_refused_start_keeps_nothing_and_its_key_is_free(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    await start(api, "single-flow")
    headers = {"Idempotency-Key": "mine"}
    for _ in range(2):
        answer = await api.post("/single-flow/execute", json={}, headers=headers)
        assert_problem(answer, TOO_MANY, "limit_reached")
        assert answer.headers["retry-after"] == "5"
    [running] = claim(bench)
    bench.store.change(running, Returned(1), now=NOW).result()
    answer = await api.post("/single-flow/execute", json={}, headers=headers)
    assert answer.status_code == HTTPStatus.ACCEPTED


async def test_a_retry_is_limited_and_as_urgent_as_before(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    first = await start(api, "single-flow", query="priority=9")
    await api.post(f"/executions/{first}/cancel")
    again = await api.post(f"/executions/{first}/retry")
    assert (await shown(api, again.json()["execution_id"]))["priority"] == 9
    assert_problem(await api.post(f"/executions/{first}/retry"), TOO_MANY, "limit_reached")


async def test_what_runs_is_told_at_once_to_make_way(api: httpx.AsyncClient, bench: Bench) -> None:
    first = await start(api, "newest-flow")
    claim(bench)
    second = await start(api, "newest-flow")
    assert [str(one) for one in bench.cancels] == [first]
    assert second in (await shown(api, first))["cancel_reason"]


@pytest.mark.parametrize(
    "query",
    [
        "delay_seconds=90",
        "start_at=2026-01-01T12:01:30Z",
        "start_at=2026-01-01T13:01:30%2B01:00",
        "start_at=2026-01-01T12:01:30Z&delay_seconds=10",
        "start_at=2026-01-01T12:00:30Z&delay_seconds=90",
    ],
)
async def test_a_start_may_be_put_off(api: httpx.AsyncClient, bench: Bench, query: str) -> None:
    later = await start(api, "free-flow", query=query)
    found = await shown(api, later)
    assert (found["status"], found["available_at"]) == ("pending", "2026-01-01T12:01:30.000Z")
    assert (found["position"], claim(bench), bench.announced) == (None, [], [])
    assert bench.expected == [NOW + timedelta(seconds=90)]
    bench.store.let_in(limit=1, now=bench.expected[0]).result()
    assert [str(one) for one in claim(bench)] == [later]


async def test_no_time_is_too_far_away(api: httpx.AsyncClient) -> None:
    later = await start(api, "free-flow", query="start_at=9999-12-31T23:59:59-14:00")
    assert (await shown(api, later))["available_at"] == "9999-01-01T00:00:00.000Z"


@pytest.mark.parametrize("start_at", ["2025-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00"])
async def test_a_time_that_is_over_is_now(
    api: httpx.AsyncClient, bench: Bench, start_at: str
) -> None:
    await start(api, "free-flow", query=f"start_at={start_at}")
    assert (len(claim(bench)), len(bench.announced), bench.expected) == (1, 1, [])


@pytest.mark.parametrize(
    "query",
    [
        "priority=101",
        "priority=-101",
        "priority=high",
        "delay_seconds=-1",
        "delay_seconds=inf",
        "delay_seconds=nan",
        "delay_seconds=40000000",
        "start_at=2026-01-01T12:00:00",
        "start_at=tomorrow",
        "start_at=1893456000",
        "start_at=-1.5",
    ],
)
async def test_options_that_make_no_sense_are_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.post(f"/free-flow/execute?{query}", json={})
    assert_problem(answer, UNPROCESSABLE, "invalid_parameter")


async def test_queues_are_listed_paused_and_resumed(api: httpx.AsyncClient, bench: Bench) -> None:
    for customer in (1, 1, 2):
        await start(api, "each-flow", {"customer": {"id": customer}})
    assert len(claim(bench)) == 2
    await start(api, "single-flow", query="delay_seconds=1")
    bench.clock.advance(timedelta(seconds=9))
    names = [queue["name"] for queue in (await api.get("/queues")).json()["queues"]]
    assert names == ["free_flow", "newest_flow", "shared", "topic_flow"]
    paused = (await api.post("/queues/shared/pause")).json()
    assert paused == {
        "name": "shared",
        "pending": 1,
        "held": 1,
        "running": 2,
        "scheduled": 1,
        "oldest_pending_seconds": 9,
        "paused_at": "2026-01-01T12:00:09.000Z",
    }
    for one in list(bench.store._rows.values()):
        if one.lease_owner:
            bench.store.change(one.id, Returned(1), now=NOW).result()
    assert claim(bench) == []
    assert (await api.post("/queues/shared/resume")).json()["paused_at"] is None
    assert len(claim(bench)) == 1


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_an_unknown_queue_is_not_found(api: httpx.AsyncClient, what: str) -> None:
    problem = assert_problem(
        await api.post(f"/queues/nobody/{what}"), HTTPStatus.NOT_FOUND, "queue_not_found"
    )
    assert "free_flow, newest_flow, shared, topic_flow" in str(problem["detail"])


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "a b"},
        {"queue": ""},
        {"queue": "x/y"},
        {"priority": 101},
        {"max_running": 0},
        {"max_pending": 0},
        {"when_full": WhenFull.REJECT},
        {"when_full": WhenFull.CANCEL_RUNNING, "max_pending": 1},
    ],
)
def test_a_control_that_makes_no_sense_is_refused_when_it_is_made(options: Any) -> None:
    with pytest.raises(ValueError, match=r"queue|priority|at least 1|max_running"):
        FlowControl(**options)
