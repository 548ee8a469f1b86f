"""Events over HTTP: pages, streams, waits."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.domain.event_log import Channel
from crewserve.domain.execution import CancelRequested, Claimed, Returned
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.domain.status import Status
from crewserve.http import sse
from crewserve.testing.builders import NOW, an_entry, an_execution
from crewserve.testing.stores import LEASE
from tests.support.api import Bench, assert_problem

UNKNOWN = "01a20684-3c99-7656-b2f7-8842218c7bf5"
SSE = {"Accept": "text/event-stream"}


def finish(bench: Bench, execution: ExecutionId, result: Any = "done") -> None:
    claimed = Claimed(WorkerName("ann:1:0:00"), NOW + LEASE)
    for event in (claimed, Returned(result)):
        bench.store.change(execution, event, now=NOW).result()


@pytest.fixture
def ended(bench: Bench) -> str:
    """An execution of the topic flow with six entries."""
    execution = an_execution(flow="topic_flow")
    bench.store._add(execution, [])
    bench.store._log(
        execution.id,
        an_entry("flow_started", id="f"),
        an_entry("llm_call_completed", channel=Channel.LLM, data={"usage": {"n": 1}}),
        an_entry("mine", channel=Channel.CUSTOM, step="write#2", parent="f"),
    )
    finish(bench, execution.id)
    return str(execution.id)


def events_of(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """Ids and bodies of a stream that has ended."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "data" in lines:
            found.append((lines["id"], json.loads(lines["data"])))
    return found


async def test_what_has_ended_is_streamed_whole(api: httpx.AsyncClient, ended: str) -> None:
    answer = await api.get(f"/executions/{ended}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("retry: 2000\n\n")
    found = events_of(answer)
    assert [id_ for id_, _ in found] == [str(body["seq"]) for _, body in found]
    assert [body["type"] for _, body in found] == [
        "execution_accepted",
        "flow_started",
        "llm_call_completed",
        "mine",
        "attempt_started",
        "execution_completed",
    ]
    assert found[3][1] == {
        "seq": 4,
        "id": None,
        "type": "mine",
        "channel": "custom",
        "step": "write#2",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "parent_id": "f",
        "content": "",
        "data": {},
    }


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("after=3", {}, [4, 5, 6]),
        ("after=3;0011aaff=12", {}, [4, 5, 6]),
        ("after=1", {"Last-Event-ID": "4"}, [5, 6]),
        ("", {"Last-Event-ID": "4;0011aaff=12"}, [5, 6]),
        ("channel=llm&channel=custom", {}, [3, 4]),
        ("type=mine&type=flow_started", {}, [2, 4]),
        ("channel=lifecycle&after=1", {}, [5, 6]),
    ],
)
async def test_a_stream_begins_and_filters_as_asked(
    api: httpx.AsyncClient, ended: str, query: str, headers: dict[str, str], expected: list[int]
) -> None:
    answer = await api.get(f"/executions/{ended}/events?{query}", headers=headers)
    assert [body["seq"] for _, body in events_of(answer)] == expected


@pytest.mark.parametrize("query", ["after=6", "after=9", "after=2&channel=tools"])
async def test_when_nothing_is_left_there_is_no_content(
    api: httpx.AsyncClient, ended: str, query: str
) -> None:
    """A browser connects again after the end of a stream, unless it gets this."""
    answer = await api.get(f"/executions/{ended}/events?{query}")
    assert (answer.status_code, answer.content) == (HTTPStatus.NO_CONTENT, b"")


@pytest.mark.parametrize(
    ("query", "accept"),
    [("format=ndjson", "*/*"), ("", "application/x-ndjson"), ("", "text/x, application/jsonl;q=1")],
)
async def test_lines_of_json_are_the_same_stream(
    api: httpx.AsyncClient, ended: str, query: str, accept: str
) -> None:
    answer = await api.get(f"/executions/{ended}/events?{query}", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/x-ndjson"
    bodies = [json.loads(line) for line in answer.text.splitlines()]
    assert [body["seq"] for body in bodies] == [1, 2, 3, 4, 5, 6]


async def test_pages_are_linked_until_the_last(api: httpx.AsyncClient, ended: str) -> None:
    following, seen = f"http://test/api/v1/executions/{ended}/events?format=json&limit=4", []
    while following:
        answer = await api.get(following)
        seen += [event["seq"] for event in answer.json()["events"]]
        following = answer.links.get("next", {}).get("url", "")
        assert bool(following) == (answer.json()["next_cursor"] is not None)
    assert seen == [1, 2, 3, 4, 5, 6]
    url = f"/executions/{ended}/events?type=mine&after=1"
    answer = await api.get(url, headers={"Accept": "application/json"})
    assert [event["seq"] for event in answer.json()["events"]] == [4]


async def test_each_flow_shows_only_its_own(api: httpx.AsyncClient, ended: str) -> None:
    own = await api.get(f"/topic-flow/execution/{ended}/events")
    assert len(events_of(own)) == 6
    other = await api.get(f"/free-flow/execution/{ended}/events")
    assert_problem(other, HTTPStatus.NOT_FOUND, "execution_not_found")
    unknown = await api.get(f"/executions/{UNKNOWN}/events?format=json")
    assert_problem(unknown, HTTPStatus.NOT_FOUND, "execution_not_found")


@pytest.mark.parametrize(
    "query",
    [
        *("after=-1", "after=x", "after=1;x=2", "after=1234567890", "after=1%0A", "since=3"),
        *("channel=x", "format=xml", "limit=0", "cursor=______"),
    ],
)
async def test_a_wrong_query_is_refused(api: httpx.AsyncClient, ended: str, query: str) -> None:
    answer = await api.get(f"/executions/{ended}/events?{query}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


async def test_a_last_event_id_of_somebody_else_is_refused(
    api: httpx.AsyncClient, ended: str
) -> None:
    answer = await api.get(f"/executions/{ended}/events", headers={"Last-Event-ID": "abc"})
    assert_problem(answer, HTTPStatus.BAD_REQUEST, "invalid_event_id")


async def accepted(bench: Bench) -> ExecutionId:
    async with asyncio.timeout(5):
        while not bench.announced:
            await asyncio.sleep(0)
    return bench.announced[0]


async def test_a_start_can_be_a_stream(api: httpx.AsyncClient, bench: Bench) -> None:
    start = api.post("/topic-flow/execute", json={"topic": "tea"}, headers=SSE)
    starting = asyncio.create_task(start)
    finish(bench, execution := await accepted(bench))
    answer = await starting
    assert answer.status_code == HTTPStatus.OK
    assert answer.headers["location"] == f"/api/v1/topic-flow/execution/{execution}"
    types = [body["type"] for _, body in events_of(answer)]
    assert types == ["execution_accepted", "attempt_started", "execution_completed"]


async def test_a_start_that_is_refused_is_no_stream(api: httpx.AsyncClient) -> None:
    answer = await api.post("/topic-flow/execute", json={}, headers=SSE)
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")


@pytest.mark.parametrize("prefer", ["wait=30", 'respond-async, wait="30"', "Wait = 30; x"])
async def test_a_start_that_ends_in_time_is_answered_with_its_end(
    api: httpx.AsyncClient, bench: Bench, prefer: str
) -> None:
    start = api.post("/topic-flow/execute", json={"topic": "tea"}, headers={"Prefer": prefer})
    starting = asyncio.create_task(start)
    finish(bench, execution := await accepted(bench))
    answer = await starting
    shown = (answer.status_code, answer.json()["status"], answer.json()["result"])
    assert shown == (HTTPStatus.OK, "completed", "done")
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["location"].endswith(str(execution))


@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait=0", "wait=0"), ("wait=x", None), ("return=minimal", None)]
)
async def test_a_start_that_does_not_end_in_time_is_answered_as_always(
    api: httpx.AsyncClient, prefer: str, applied: str | None
) -> None:
    headers = {"Prefer": prefer}
    answer = await api.post("/topic-flow/execute", json={"topic": "tea"}, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (HTTPStatus.ACCEPTED, "pending")
    assert answer.headers.get("preference-applied") == applied


async def test_a_wait_is_bounded(api: httpx.AsyncClient, bench: Bench) -> None:
    start = api.post("/topic-flow/execute", json={"topic": "x"}, headers={"Prefer": "wait=9999"})
    starting = asyncio.create_task(start)
    finish(bench, await accepted(bench))
    assert (await starting).headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize("path", ["executions/{}", "topic-flow/execution/{}"])
async def test_a_status_can_be_waited_for(api: httpx.AsyncClient, bench: Bench, path: str) -> None:
    execution = an_execution(flow="topic_flow")
    bench.store._add(execution, [])
    url = f"/{path.format(execution.id)}"
    assert (await api.get(f"{url}?wait=0.05")).json()["status"] == "pending"
    waiting = asyncio.create_task(api.get(f"{url}?wait=30"))
    async with asyncio.timeout(5):
        while not bench.live.is_read(execution.id):
            await asyncio.sleep(0)
    finish(bench, execution.id)
    assert (await waiting).json()["status"] == "completed"
    refused = await api.get(f"{url}?wait=61")
    assert_problem(refused, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


async def test_a_silent_stream_beats(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "QUIET_SECONDS", 0.01)
    execution = an_execution()
    bench.store._add(execution, [])
    follow = bench.attached.events.follow(execution.id, sse.decode_position("0"))
    stream = sse.stream_answer(follow, sse.Format.SSE).body_iterator
    assert isinstance(stream, AsyncIterator)
    opening, first, beat = [await anext(stream) for _ in range(3)]
    assert (opening, beat) == (b"retry: 2000\n\n", b": heartbeat\n\n")
    assert bytes(first).startswith(b"id: 1\ndata: ")
    cancel = CancelRequested(LEASE)
    bench.store.change(execution.id, cancel, now=NOW).result()
    rest = b"".join([bytes(part) async for part in stream])
    assert b"execution_cancelled" in rest
    assert (await bench.store.get(execution.id)).status is Status.CANCELLED


def test_positions_come_back_as_they_were() -> None:
    for text in ("0", "17", "17;0011aaff=12;aabbccdd=3"):
        assert sse.encode_position(sse.decode_position(text)) == text
        assert sse.is_position(text)
    for text in ("", "17;", "17;x=1", "-1", "17\n"):
        assert not sse.is_position(text)
