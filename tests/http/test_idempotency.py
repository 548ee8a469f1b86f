"""Sending a start again."""

import asyncio
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.domain.errors import FieldError
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName
from crewserve.domain.status import Status
from crewserve.testing.builders import a_step, an_execution
from crewserve.testing.fakes import FakeHost
from tests.support.api import Bench, assert_problem

EXECUTE = "/topic-flow/execute"
TEA: dict[str, Any] = {"topic": "tea", "lines": 2}


def keyed(key: str = "order-7") -> dict[str, str]:
    return {"Idempotency-Key": key}


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


class WaitingHost(FakeHost):
    """Does not answer what inputs are worth before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def validate(self, flow: FlowSpec, inputs: Any) -> list[FieldError]:
        self.asked.set()
        await self.answer.wait()
        return []


async def test_the_same_request_again_has_the_same_answer(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    first = await api.post(EXECUTE, json=TEA, headers=keyed())
    assert first.status_code == HTTPStatus.ACCEPTED
    assert_replayed(first, await api.post(EXECUTE, json=TEA, headers=keyed()))
    assert len(bench.store._rows) == len(bench.announced) == 1


async def test_without_a_key_each_request_starts_one(api: httpx.AsyncClient, bench: Bench) -> None:
    for _ in range(2):
        answer = await api.post(EXECUTE, json=TEA)
        assert "idempotency-replayed" not in answer.headers
    assert (len(bench.store._rows), bench.store._keys) == (2, {})


async def test_the_answer_outlives_the_execution(api: httpx.AsyncClient, bench: Bench) -> None:
    first = await api.post(EXECUTE, json=TEA, headers=keyed())
    await api.delete(f"/executions/{first.json()['execution_id']}")
    assert_replayed(first, await api.post(EXECUTE, json=TEA, headers=keyed()))
    assert bench.store._rows == {}


@pytest.mark.parametrize(("what", "wish"), [("retry", None), ("fork", {"from_step": "step_1"})])
async def test_retries_and_forks_are_started_once_too(
    api: httpx.AsyncClient, bench: Bench, what: str, wish: Any
) -> None:
    failure = Failure(code=FailureCode.FLOW_ERROR, message="no")
    failed = an_execution(
        Status.FAILED, failure=failure, flow=FlowName("topic_flow"), inputs={"topic": "tea"}
    )
    bench.store._add(failed, [a_step()])
    url = f"/executions/{failed.id}/{what}"
    first = await api.post(url, json=wish, headers=keyed())
    assert first.status_code == HTTPStatus.ACCEPTED
    await api.delete(f"/executions/{failed.id}")
    assert_replayed(first, await api.post(url, json=wish, headers=keyed()))
    assert [str(one) for one in bench.store._rows] == [first.json()["execution_id"]]


async def test_the_order_in_body_and_query_means_nothing(api: httpx.AsyncClient) -> None:
    first = await api.post(f"{EXECUTE}?max_attempts=2&timeout_seconds=9", json=TEA, headers=keyed())
    again = await api.post(
        f"{EXECUTE}?timeout_seconds=9&max_attempts=2",
        content=b' { "lines":2, "topic":"tea" } ',
        headers={**keyed(), "Content-Type": "application/json"},
    )
    assert_replayed(first, again)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (EXECUTE, {**TEA, "lines": 3}),
        (f"{EXECUTE}?max_attempts=2", TEA),
        ("/free-flow/execute", TEA),
    ],
)
async def test_another_request_needs_another_key(
    api: httpx.AsyncClient, bench: Bench, url: str, body: Any
) -> None:
    await api.post(EXECUTE, json=TEA, headers=keyed())
    answer = await api.post(url, json=body, headers=keyed())
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_mismatch")
    assert "order-7" in str(problem["detail"])
    assert (await api.post(url, json=body, headers=keyed("8"))).status_code == HTTPStatus.ACCEPTED
    assert len(bench.store._rows) == 2


async def test_while_the_first_is_answered_others_are_told_to_wait(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    bench.host = host = WaitingHost()
    bench.attach()
    first = asyncio.create_task(api.post("/free-flow/execute", json={}, headers=keyed()))
    await host.asked.wait()
    second = await api.post("/free-flow/execute", json={}, headers=keyed())
    assert_problem(second, HTTPStatus.CONFLICT, "idempotency_in_flight")
    assert second.headers["retry-after"] == "1"
    host.answer.set()
    third = await api.post("/free-flow/execute", json={}, headers=keyed("other"))
    assert third.status_code == HTTPStatus.ACCEPTED
    answered = await first
    assert_replayed(answered, await api.post("/free-flow/execute", json={}, headers=keyed()))
    assert len(bench.store._rows) == 2


async def test_sent_at_the_same_time_one_starts(api: httpx.AsyncClient, bench: Bench) -> None:
    answers = await asyncio.gather(
        *(api.post(EXECUTE, json=TEA, headers=keyed()) for _ in range(10))
    )
    ids = {
        answer.json()["execution_id"]
        for answer in answers
        if answer.status_code == HTTPStatus.ACCEPTED
    }
    assert ids == {str(execution_id) for execution_id in bench.store._rows}
    assert len(ids) == 1
    for answer in answers:
        if answer.status_code != HTTPStatus.ACCEPTED:
            assert_problem(answer, HTTPStatus.CONFLICT, "idempotency_in_flight")


async def test_whom_another_process_forestalled_is_told_to_wait(
    api: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await api.post(EXECUTE, json=TEA, headers=keyed())
    with monkeypatch.context() as patch:  # what it stored is not seen yet when the second asks

        async def see_nothing(_: object, key: object) -> None:
            return None

        patch.setattr(type(bench.store), "started_with", see_nothing)
        second = await api.post(EXECUTE, json=TEA, headers=keyed())
        assert_problem(second, HTTPStatus.CONFLICT, "idempotency_in_flight")
    assert_replayed(first, await api.post(EXECUTE, json=TEA, headers=keyed()))
    assert len(bench.store._rows) == 1


async def test_what_was_refused_leaves_its_key_free(api: httpx.AsyncClient, bench: Bench) -> None:
    bench.host.errors = [FieldError("a", "Field required", "missing")]
    refused = await api.post("/free-flow/execute", json={}, headers=keyed())
    assert_problem(refused, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    bench.host.errors = []
    accepted = await api.post("/free-flow/execute", json={"a": 1}, headers=keyed())
    assert accepted.status_code == HTTPStatus.ACCEPTED


async def test_a_key_is_forgotten_after_a_day(api: httpx.AsyncClient, bench: Bench) -> None:
    first = await api.post(EXECUTE, json=TEA, headers=keyed())
    bench.clock.advance(timedelta(hours=24, seconds=-1))
    assert_replayed(first, await api.post(EXECUTE, json=TEA, headers=keyed()))
    bench.clock.advance(timedelta(seconds=1))
    later = await api.post(EXECUTE, json={**TEA, "lines": 1}, headers=keyed())
    assert later.status_code == HTTPStatus.ACCEPTED
    assert "idempotency-replayed" not in later.headers
    assert len(bench.store._rows) == 2


@pytest.mark.parametrize(
    ("bare", "quoted"),
    [
        ("abc", '"abc"'),
        ("a b\\c", '"a b\\\\c"'),
        ('it"s', '"it\\"s"'),
        ("~" * 255, f'"{"~" * 255}"'),
    ],
)
async def test_a_quoted_key_is_the_same_as_a_bare_one(
    api: httpx.AsyncClient, bare: str, quoted: str
) -> None:
    first = await api.post(EXECUTE, json=TEA, headers=keyed(bare))
    assert_replayed(first, await api.post(EXECUTE, json=TEA, headers=keyed(quoted)))


@pytest.mark.parametrize(
    "key", ["", '""', '"', '"abc', '"a"b', '"a";b=1', '"a\\b"', "a\tb", "x" * 256, "ü"]
)
async def test_a_malformed_key_is_refused(api: httpx.AsyncClient, bench: Bench, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    answer = await api.post(EXECUTE, json=TEA, headers=headers)
    assert_problem(answer, HTTPStatus.BAD_REQUEST, "invalid_idempotency_key")
    assert bench.store._rows == {}


async def test_two_keys_are_none(api: httpx.AsyncClient, bench: Bench) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await api.post(EXECUTE, json=TEA, headers=headers)
    assert_problem(answer, HTTPStatus.BAD_REQUEST, "invalid_idempotency_key")
    assert bench.store._rows == {}


async def test_whatever_can_be_parsed_has_a_fingerprint(api: httpx.AsyncClient) -> None:
    """Python parses a little more deeply than it writes."""
    for depth in range(900, 1000):
        body = b'{"topic": "tea", "ignored": ' + b"[" * depth + b"]" * depth + b"}"
        headers = {**keyed(f"depth {depth}"), "Content-Type": "application/json"}
        answer = await api.post(EXECUTE, content=body, headers=headers)
        if answer.status_code != HTTPStatus.ACCEPTED:
            assert_problem(answer, HTTPStatus.BAD_REQUEST, "malformed_json")


async def test_the_document_names_the_header(api: httpx.AsyncClient) -> None:
    paths = (await api.get("http://test/openapi.json")).json()["paths"]
    found = {
        path
        for path, operations in paths.items()
        for operation in operations.values()
        if "Idempotency-Key" in [one["name"] for one in operation.get("parameters", [])]
        and {"202", "400", "409", "422"} <= operation["responses"].keys()
    }
    assert found == {
        "/api/v1/topic-flow/execute",
        "/api/v1/free-flow/execute",
        "/api/v1/executions/{execution_id}/retry",
        "/api/v1/executions/{execution_id}/fork",
    }
