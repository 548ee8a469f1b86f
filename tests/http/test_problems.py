from collections.abc import AsyncIterator
from http import HTTPStatus

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.domain.query import ExecutionQuery
from tests.support.api import Bench, assert_problem


async def test_a_defect_of_ours_tells_nothing_but_a_request_id(
    api: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: ExecutionQuery) -> list[Execution]:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(bench.store, "page", fail)
    answer = await api.get("/executions", headers={"X-Request-ID": "mine-1"})
    problem = assert_problem(answer, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")
    assert "hunter2" not in answer.text
    assert problem["request_id"] == "mine-1"


async def test_unavailable_storage_says_when_to_try_again(
    api: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(bench.store, "add", refuse)
    answer = await api.post("/topic-flow/execute", json={"topic": "tea"})
    assert_problem(answer, HTTPStatus.SERVICE_UNAVAILABLE, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_a_hand_written_router_s_errors_are_problems_too(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    app: FastAPI = bench.app

    @app.get("/by-hand")
    async def by_hand() -> None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "Not found, sorry")

    answer = await api.get("http://test/by-hand")
    problem = assert_problem(answer, HTTPStatus.NOT_FOUND, "not_found")
    assert problem["detail"] == "Not found, sorry"


async def test_a_hostile_request_id_is_replaced(api: httpx.AsyncClient) -> None:
    for hostile in ("a b", "x" * 200, "<script>"):
        answer = await api.get("/executions", headers={"X-Request-ID": hostile})
        assert answer.headers["x-request-id"] != hostile


async def large_body() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_body_is_refused_announced_or_not(
    api: httpx.AsyncClient, bench: Bench, *, chunked: bool
) -> None:
    content = large_body() if chunked else b"x" * 20_000
    headers = {"Content-Type": "application/json"}
    answer = await api.post("/topic-flow/execute", content=content, headers=headers)
    assert_problem(answer, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large")
    assert bench.store._rows == {}
