"""What is seen of each answer, and what of it is logged."""

import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from structlog.contextvars import get_contextvars

from crewserve.application.key_ring import KeyRing
from crewserve.http.answering import Answer, Observe, log_answer
from crewserve.http.app import build_app, close_routes, include_flow
from crewserve.http.flow_router import flow_router
from crewserve.http.gate import Access, Auth
from crewserve.storage.memory import MemoryStore
from crewserve.testing.fakes import FrozenClock
from tests.support.api import nothing


def an_app(*observers: Observe) -> FastAPI:
    """Open to all, without other parts: what needs any of them fails unexpectedly."""
    app = build_app(lifespan=nothing, max_body_bytes=1000, observers=observers)
    include_flow(app, flow_router("m:FreeFlow"))
    close_routes(app)
    keys = KeyRing(store=MemoryStore(), secret=b"", clock=FrozenClock())
    bare = SimpleNamespace(seen_by=lambda _: SimpleNamespace())
    app.state.crewserve = SimpleNamespace(access=Access(Auth.NONE, keys), seen_by=bare.seen_by)
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
def seen() -> list[Answer]:
    return []


@pytest.fixture
async def client(seen: list[Answer]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(an_app(seen.append)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", ("GET", "/", 200)),
        (
            "GET",
            "/api/v1/free-flow/execution/not-an-id",
            ("GET", "/api/v1/free-flow/execution/{execution_id}", 422),
        ),
        ("GET", "/api/v1/flows", ("GET", "/api/v1/flows", 500)),
        ("GET", "/there/is/nothing", ("GET", "unknown", 404)),
        ("BREW", "/", ("OTHER", "/", 405)),
    ],
)
async def test_an_answer_is_seen_by_its_route_never_by_its_path(
    client: httpx.AsyncClient,
    seen: list[Answer],
    method: str,
    path: str,
    expected: tuple[str, str, int],
) -> None:
    await client.request(method, path)
    [answer] = seen
    assert (answer.method, answer.route, answer.status) == expected
    assert 0 < answer.seconds < 60


async def test_a_line_of_the_access_log_has_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crewserve.access")
    async with client_of(an_app(log_answer)) as client:
        await client.get("/?secret=never")
    [line] = [record for record in caplog.records if record.name == "crewserve.access"]
    assert {"method": "GET", "route": "/", "status": 200}.items() <= vars(line).items()
    assert line.getMessage() == "Answered"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_probes_are_not_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crewserve.access")
    async with client_of(an_app(log_answer)) as client:
        await client.get(path)
    assert [record for record in caplog.records if record.name == "crewserve.access"] == []


async def test_what_is_logged_while_a_request_is_answered_has_its_id() -> None:
    bound: list[object] = []
    app = an_app(lambda _: bound.append(get_contextvars().get("request_id")))
    async with client_of(app) as client:
        await client.get("/", headers={"X-Request-ID": "mine"})
    assert bound == ["mine"]
    assert "request_id" not in get_contextvars()


async def test_the_line_of_an_unexpected_error_has_its_request_id(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/api/v1/flows", headers={"X-Request-ID": "mine"})
    [line] = [record for record in caplog.records if record.name == "crewserve.http.problems"]
    assert vars(line)["request_id"] == "mine"
