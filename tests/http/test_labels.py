"""Tags and metadata over HTTP."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
import pytest

from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.testing.builders import NOW
from tests.support.api import Bench, assert_problem

ACME = "tag=nightly&tag=big&metadata.customer=acme&metadata.seats=3&metadata.zip=%2210115%22"
METADATA = {"customer": "acme", "seats": 3, "zip": "10115"}


async def start(api: httpx.AsyncClient, query: str) -> str:
    answer = await api.post(f"/free-flow/execute?{query}", json={})
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    return str(answer.json()["execution_id"])


async def found(api: httpx.AsyncClient, query: str) -> list[str]:
    answer = await api.get(f"/executions?{query}")
    return [one["execution_id"] for one in answer.json()["executions"]]


async def test_labels_of_a_start_are_shown_wherever_it_is(api: httpx.AsyncClient) -> None:
    started, without = await start(api, ACME), await start(api, "")
    for path in (f"/executions/{started}", f"/free-flow/execution/{started}"):
        shown = (await api.get(path)).json()
        assert (shown["tags"], shown["metadata"]) == (["nightly", "big"], METADATA)
    plain, listed = (await api.get("/executions")).json()["executions"]
    assert (listed["tags"], listed["metadata"]) == (["nightly", "big"], METADATA)
    detail = (await api.get(f"/executions/{without}")).json()
    assert not {"tags", "metadata"} & (plain.keys() | detail.keys())


async def test_lists_and_counts_are_filtered_by_labels(api: httpx.AsyncClient) -> None:
    acme, nightly = await start(api, ACME), await start(api, "tag=nightly")
    await start(api, "metadata.customer=other")
    assert await found(api, "tag=nightly") == [nightly, acme]
    assert await found(api, "tag=nightly&tag=big") == [acme]
    assert await found(api, "metadata.customer=acme&metadata.seats=3.0") == []
    assert await found(api, "metadata.customer=acme&metadata.zip=10115") == [acme]
    counted = await api.get("/executions/count?tag=nightly&group_by=status")
    assert counted.json()["total"] == 2
    bars = (await api.get("/executions/histogram?metadata.customer=other")).json()["bars"]
    assert sum(bar["total"] for bar in bars) in (0, 1)  # the window ends when this one began


async def test_a_next_page_has_the_same_filters(api: httpx.AsyncClient) -> None:
    first, _, last = [await start(api, query) for query in (ACME, "", ACME)]
    answer = await api.get("/executions?metadata.customer=acme&tag=big&limit=1")
    assert answer.json()["executions"][0]["execution_id"] == last
    following = await api.get(answer.links["next"]["url"])
    assert [one["execution_id"] for one in following.json()["executions"]] == [first]


async def test_lists_are_filtered_by_attempt(api: httpx.AsyncClient, bench: Bench) -> None:
    running, pending = await start(api, ""), await start(api, "")
    flows = [FlowName("free_flow")]
    bench.store.claim(WorkerName("ann"), flows=flows, limit=1, lease_expires_at=NOW, now=NOW)
    assert await found(api, "attempt=1") == await found(api, "min_attempt=1") == [running]
    assert await found(api, "attempt=0") == [pending]
    assert await found(api, "min_attempt=2") == []


async def test_retries_and_forks_keep_them(api: httpx.AsyncClient) -> None:
    started = await start(api, ACME)
    await api.post(f"/executions/{started}/cancel")
    again = (await api.post(f"/executions/{started}/retry")).json()["execution_id"]
    assert (await api.get(f"/executions/{again}")).json()["metadata"] == METADATA
    assert await found(api, "tag=big") == [again, started]


async def test_no_label_is_written_where_none_is_given(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    started = await start(api, "priority=1")
    execution = await bench.store.get(ExecutionId(UUID(started)))
    assert not execution.labels


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("tag=", "tag"),
        (f"tag={'x' * 65}", "tag"),
        ("tag=a%00b", "tag"),
        ("&".join(f"tag={n}" for n in range(21)), "tag"),
        ("&".join(f"metadata.n{n}={n}" for n in range(21)), "metadata"),
        (f"metadata.n={'x' * 257}", "metadata"),
        ("metadata.n=1&metadata.n=2", "metadata"),
        ("metadata.=1", "metadata"),
        ("metadata.a%20b=1", "metadata"),
        ("metadata=1", "metadata"),
        ("metadatum=1", "metadatum"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_no_label_is_named(
    api: httpx.AsyncClient, method: str, query: str, field: str
) -> None:
    path = "/executions" if method == "GET" else "/free-flow/execute"
    body: Any = {} if method == "POST" else None
    answer = await api.request(method, f"{path}?{query}", json=body)
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")
    assert [error["field"] for error in problem["errors"]] == [field]  # type: ignore[attr-defined]
