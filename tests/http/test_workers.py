"""Workers over HTTP."""

from http import HTTPStatus

import httpx
import pytest

from crewserve.domain.ids import FlowName
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_worker, an_execution
from crewserve.testing.stores import ANN, BOB
from tests.support.api import Bench, assert_problem


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """With five workers."""
    for number in range(5):
        flows = (FlowName("topic_flow"),) if number % 2 else (FlowName("free_flow"),)
        bench.store.beat(a_worker(f"w{number}:1:0@b:00", flows=flows))
    return bench


async def names(api: httpx.AsyncClient, **query: str) -> list[str]:
    found = (await api.get("/workers", params=query)).json()["workers"]
    return [worker["id"].partition(":")[0] for worker in found]


async def test_a_worker_says_where_it_is_and_what_it_does(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    bench.store.beat(a_worker(ANN))
    held = an_execution(Status.RUNNING, lease_owner=ANN)
    bench.store.add(held)
    shown = (await api.get(f"/workers/{ANN}")).json()
    assert shown == {
        "id": ANN,
        "host": "ann",
        "pid": 1,
        "version": "1.2.3",
        "engine": "local",
        "flows": ["poem_flow"],
        "state": "active",
        "slots": 8,
        "running": 1,
        "memory_bytes": 5 * 2**30,
        "started_at": "2026-01-01T12:00:00.000Z",
        "heartbeat_at": "2026-01-01T12:00:00.000Z",
        "drain_requested_at": None,
    }
    assert (await api.get(f"/executions/{held.id}")).json()["worker"] == shown["id"]


@pytest.mark.usefixtures("bench")
async def test_pages_are_linked_until_the_last(api: httpx.AsyncClient) -> None:
    following, seen = "http://test/api/v1/workers?limit=2", []
    while following:
        answer = await api.get(following)
        seen += [worker["host"] for worker in answer.json()["workers"]]
        following = answer.links.get("next", {}).get("url", "")
        assert bool(following) == (answer.json()["next_cursor"] is not None)
    assert seen == ["w0", "w1", "w2", "w3", "w4"]


async def test_filters_combine(api: httpx.AsyncClient, bench: Bench) -> None:
    await api.post("/workers/w1:1:0@b:00/drain")
    assert await names(api, flow_name="topic_flow") == ["w1", "w3"]
    assert await names(api, state="draining") == ["w1"]
    assert await names(api, state="active", flow_name="topic_flow") == ["w3"]
    answer = await api.get("/workers?state=active&state=draining&flow_name=topic_flow")
    assert [one["host"] for one in answer.json()["workers"]] == ["w1", "w3"]


async def test_a_drain_is_requested_told_and_taken_back(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    drained = await api.post("/workers/w2:1:0@b:00/drain")
    assert drained.status_code == HTTPStatus.ACCEPTED
    assert drained.json()["state"] == "draining"
    assert drained.json()["drain_requested_at"] == "2026-01-01T12:00:00.000Z"
    resumed = await api.post("/workers/w2:1:0@b:00/resume")
    assert resumed.status_code == HTTPStatus.ACCEPTED
    assert (resumed.json()["state"], resumed.json()["drain_requested_at"]) == ("active", None)
    assert bench.drains == ["w2:1:0@b:00"] * 2


@pytest.mark.parametrize("wish", ["drain", "resume"])
async def test_who_is_not_there_can_be_asked_nothing(
    api: httpx.AsyncClient, bench: Bench, wish: str
) -> None:
    bench.store.beat(a_worker(BOB))
    bench.store.leave(BOB, now=NOW)
    stopped = await api.post(f"/workers/{BOB}/{wish}")
    assert_problem(stopped, HTTPStatus.CONFLICT, "worker_stopped")
    unknown = await api.post(f"/workers/{ANN}/{wish}")
    assert_problem(unknown, HTTPStatus.NOT_FOUND, "worker_not_found")
    assert_problem(await api.get(f"/workers/{ANN}"), HTTPStatus.NOT_FOUND, "worker_not_found")
    assert bench.drains == []


@pytest.mark.parametrize("query", ["limit=0", "state=tired", "cursor=abc", "cursor=", "host=w1"])
async def test_a_wrong_query_is_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/workers?{query}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


@pytest.mark.usefixtures("bench")
async def test_any_cursor_of_the_right_form_is_read(api: httpx.AsyncClient) -> None:
    assert await names(api, cursor="ff00") == []
