"""What browsers can be made to send, and what they are told not to do with answers."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from http import HTTPStatus

import httpx
import pytest
from fastapi import WebSocket
from fastapi.testclient import TestClient
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketDisconnect

from crewserve.http.app import Reach
from tests.support.api import a_bench, assert_problem

LOOPBACK = "http://127.0.0.1:8000"
PAGE = "https://app.example.com"


@asynccontextmanager
async def asking(
    base: str = LOOPBACK, *, hosts: Sequence[str] = (), origins: Sequence[str] = ()
) -> AsyncIterator[httpx.AsyncClient]:
    bench = a_bench(reach=Reach(hosts=hosts, origins=origins))
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "flows.localhost", "LOCALHOST", "0.0.0.0"],
)
async def test_a_server_on_loopback_is_asked_under_names_of_this_machine(host: str) -> None:
    async with asking() as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1.attacker.example", "localhost.example:8000", "[", "a b"]
)
async def test_a_foreign_name_that_leads_to_loopback_is_refused(host: str) -> None:
    async with asking() as client:
        answer = await client.get("/api/v1/executions", headers={"Host": host})
    assert_problem(answer, HTTPStatus.MISDIRECTED_REQUEST, "host_refused")


async def test_a_server_that_others_reach_is_asked_under_any_name_unless_some_are_given() -> None:
    async with asking("http://192.0.2.1:8000") as client:
        assert (await client.get("/health", headers={"Host": "any.example"})).is_success
    async with asking("http://192.0.2.1:8000", hosts=["*.example.com"]) as client:
        assert (await client.get("/health", headers={"Host": "flows.example.com"})).is_success
        answer = await client.get("/health", headers={"Host": "any.example"})
        assert (await client.get("/health/live")).is_success, "a probe asks for the address"
    assert_problem(answer, HTTPStatus.MISDIRECTED_REQUEST, "host_refused")


def test_a_foreign_page_opens_no_websocket() -> None:
    app = a_bench().app

    @app.websocket("/chat")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    own = {"Origin": "http://127.0.0.1:8000"}
    client = TestClient(app, base_url=LOOPBACK, client=("127.0.0.1", 4711))
    with client.websocket_connect("ws://127.0.0.1:8000/chat", headers=own):
        pass
    for headers in ({"Origin": PAGE}, {"Host": "attacker.example"}):
        with pytest.raises(WebSocketDisconnect) as refused:
            client.websocket_connect("ws://127.0.0.1:8000/chat", headers=headers).__enter__()
        assert refused.value.code == WS_1008_POLICY_VIOLATION


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": PAGE},
        {"Origin": "null"},
        {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:9000"},
    ],
)
async def test_a_foreign_page_changes_nothing(headers: dict[str, str]) -> None:
    async with asking() as client:
        answer = await client.post("/api/v1/queues/default/pause", headers=headers)
    assert_problem(answer, HTTPStatus.FORBIDDEN, "origin_refused")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": LOOPBACK},
        {"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_programs_and_own_pages_do(headers: dict[str, str]) -> None:
    async with asking() as client:
        answer = await client.post(
            "/api/v1/topic-flow/execute", json={"topic": "cake"}, headers=headers
        )
    assert answer.is_success


async def test_pages_of_no_other_origin_can_read_by_default() -> None:
    async with asking() as client:
        answer = await client.get("/health", headers={"Origin": PAGE})
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        before = await client.options("/api/v1/topic-flow/execute", headers=asked)
    assert not [name for name in (*answer.headers, *before.headers) if "access-control" in name]


async def test_pages_of_a_named_origin_can() -> None:
    async with asking(origins=[PAGE]) as client:
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        }
        before = await client.options("/api/v1/topic-flow/execute", headers=asked)
        started = await client.post(
            "/api/v1/topic-flow/execute", json={"topic": "cake"}, headers={"Origin": PAGE}
        )
        other = await client.get("/health", headers={"Origin": "https://other.example"})
    assert (before.status_code, started.status_code) == (200, 202)
    for answer in (before, started):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Location" in started.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers


async def test_a_wildcard_comes_without_cookies() -> None:
    async with asking(origins=["*"]) as client:
        answer = await client.get("/health", headers={"Origin": PAGE, "Cookie": "session=1"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/health", "/nothing", "/openapi.json", "/docs-assets/favicon.png"]
)
async def test_every_answer_says_what_a_browser_must_not_do(path: str) -> None:
    async with asking() as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


async def test_where_the_way_is_encrypted_it_stays_so() -> None:
    async with asking("https://192.0.2.1") as client:
        headers = (await client.get("/health")).headers
    assert headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_pages_run_only_the_scripts_that_they_came_with(path: str) -> None:
    async with asking() as client:
        page = await client.get(path)
    policy = page.headers["content-security-policy"]
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None
    assert "unsafe" not in scripts[1]
    for script in re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL):
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in scripts[1]
