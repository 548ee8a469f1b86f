"""Who gets in, and what for."""

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.application.key_ring import HEARD_WITHIN
from crewserve.domain.ids import FlowName
from crewserve.domain.principal import Scope
from crewserve.domain.status import Status
from crewserve.http.gate import Auth
from crewserve.http.scopes import FLOW_ROUTES, ROUTES, Needs
from crewserve.testing.builders import an_execution
from tests.support.api import Bench, a_bench, assert_problem, describe

UNAUTHORIZED, FORBIDDEN = HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN
TOPIC = {"topic": "rain"}
ELSEWHERE = ("203.0.113.7", 4711)


@pytest.fixture
async def stranger(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    """A client on another machine."""
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False, client=ELSEWHERE)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        yield client


def operations(bench: Bench) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, methods in bench.app.openapi()["paths"].items()
        for method in methods
    ]


def filled(path: str) -> str:
    for name, value in {
        "execution_id": "01890000-0000-7000-8000-000000000000",
        "position": "1",
        "key_id": "0" * 12,
    }.items():
        path = path.replace(f"{{{name}}}", value)
    return "http://test" + path.replace("{name}", "poem_flow").replace("{worker_id}", "ann")


def test_every_route_is_in_the_table(bench: Bench) -> None:
    missing = [one for one in operations(bench) if bench.app.rules.find(*one) is None]
    assert missing == []


def test_nothing_is_in_the_table_that_is_no_route(bench: Bench) -> None:
    flows = {(method, f"/api/v1/topic-flow{rest}") for method, rest in FLOW_ROUTES}
    hidden = {"/docs", "/redoc", "/openapi.json", "/docs-assets/{file}", "/metrics"}
    expected = {one for one in ROUTES if one[1] not in hidden} | flows
    assert expected <= set(operations(bench))


async def test_every_route_but_health_refuses_strangers(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    for method, path in operations(bench):
        answer = await stranger.request(method, filled(path))
        if path.startswith("/health"):
            assert answer.status_code == 200
        else:
            assert_problem(answer, UNAUTHORIZED, "key_required")
            assert answer.headers["www-authenticate"] == 'Bearer realm="crewserve"'
    for path in ("/docs", "/openapi.json", "/metrics"):
        assert (await stranger.get(f"http://test{path}")).status_code == UNAUTHORIZED


async def test_every_route_refuses_a_key_without_its_scope(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    headers = bench.key("feedback:respond")
    for method, path in operations(bench):
        rule = bench.app.rules.find(method, path)
        assert rule is not None
        answer = await stranger.request(method, filled(path), headers=headers)
        if rule.need in (Needs.NOTHING, Needs.ANY_KEY):
            assert answer.status_code not in (UNAUTHORIZED, FORBIDDEN), path
        else:
            assert_problem(answer, FORBIDDEN, "insufficient_scope")
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("scope", "method", "path", "expected"),
    [
        (Scope.READ, "GET", "/executions", 200),
        (Scope.WRITE, "DELETE", "/executions/{}", 204),
        (Scope.CANCEL, "POST", "/executions/{}/cancel", 409),
        ("flows:topic_flow:execute", "POST", "/topic-flow/execute", 202),
        ("flows:*:execute", "POST", "/topic-flow/execute", 202),
        ("flows:free_flow:execute", "POST", "/topic-flow/execute", 403),
        (Scope.READ, "POST", "/topic-flow/execute", 403),
        (Scope.READ, "DELETE", "/executions/{}", 403),
        (Scope.ADMIN, "POST", "/topic-flow/execute", 202),
        (Scope.ADMIN, "GET", "/workers", 200),
    ],
)
async def test_a_scope_opens_its_routes(
    bench: Bench, stranger: httpx.AsyncClient, scope: str, method: str, path: str, expected: int
) -> None:
    ended = an_execution(Status.COMPLETED)
    bench.store._add(ended, [])
    url, headers = path.format(ended.id), bench.key(scope)
    answer = await stranger.request(
        method, url, headers=headers, json=TOPIC if "execute" in path else None
    )
    assert answer.status_code == expected, answer.text


async def test_a_list_of_flows_narrows_what_may_be_executed(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    for scope in ("flows:*:execute", "admin"):
        headers = bench.key(scope, flows=frozenset({FlowName("free_flow")}))
        answer = await stranger.post("/topic-flow/execute", headers=headers, json=TOPIC)
        assert_problem(answer, FORBIDDEN, "insufficient_scope")


async def test_a_list_of_flows_narrows_what_the_documentation_tells(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    describe(bench)
    url, mine = "http://test/openapi.json", frozenset({FlowName("free_flow")})
    whole = (await stranger.get(url, headers=bench.key("admin"))).json()
    found = (await stranger.get(url, headers=bench.key("admin", flows=mine))).json()
    assert "/api/v1/topic-flow/execute" in whole["paths"]
    assert not [path for path in found["paths"] if "topic-flow" in path]
    assert "/api/v1/free-flow/execute" in found["paths"]
    assert {"Topic", "free_flow_inputs"} <= set(whole["components"]["schemas"])
    kept = found["components"]["schemas"]
    assert "Topic" not in kept
    assert {"free_flow_inputs", "Problem"} <= set(kept)
    told = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert told == set(kept)


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"]
)
async def test_who_asks_through_a_proxy_is_a_stranger(api: httpx.AsyncClient, name: str) -> None:
    assert (await api.get("/executions")).status_code == 200
    answer = await api.get("/executions", headers={name: "127.0.0.1"})
    assert_problem(answer, UNAUTHORIZED, "key_required")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("::ffff:192.0.2.1", 401),
        ("192.168.1.5", 401),
        ("testclient", 401),
    ],
)
async def test_this_machine_is_known_by_its_address(bench: Bench, host: str, expected: int) -> None:
    transport = httpx.ASGITransport(bench.app, client=(host, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/api/v1/executions")).status_code == expected


@pytest.mark.parametrize(("auth", "expected"), [(Auth.NONE, 200), (Auth.REQUIRED, 401)])
async def test_a_server_may_be_open_or_closed_to_all(auth: Auth, expected: int) -> None:
    for client in (ELSEWHERE, ("127.0.0.1", 1)):
        transport = httpx.ASGITransport(a_bench(auth=auth).app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
            assert (await asking.get("/api/v1/executions")).status_code == expected


async def test_a_key_may_come_in_either_header_but_not_two_keys(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    one, other = bench.key("admin"), bench.key("admin")
    token = one["Authorization"].removeprefix("Bearer ")
    for headers in (one, {"X-API-Key": token}, {**one, "X-API-Key": token}):
        assert (await stranger.get("/executions", headers=headers)).status_code == 200
    answer = await stranger.get("/executions", headers={**other, "X-API-Key": token})
    assert_problem(answer, UNAUTHORIZED, "invalid_key")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer csk_0123456789ab_" + "a" * 43},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": ""},
        {"X-API-Key": "ü".encode()},
        {"X-API-Key": "x" * 100_000},
    ],
)
async def test_what_is_no_good_key_is_refused_also_from_this_machine(
    api: httpx.AsyncClient, headers: Any
) -> None:
    answer = await api.get("/executions", headers=headers)
    assert_problem(answer, UNAUTHORIZED, "invalid_key")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_right_id_with_a_wrong_secret_is_refused(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    headers = bench.key("admin")
    forged = headers["Authorization"][:-1] + "~"
    for wrong in (forged, headers["Authorization"][:-2] + "xx"):
        answer = await stranger.get("/executions", headers={"Authorization": wrong})
        assert_problem(answer, UNAUTHORIZED, "invalid_key")


async def test_a_key_ends_when_it_expires(bench: Bench, stranger: httpx.AsyncClient) -> None:
    headers = bench.key("admin")
    assert (await stranger.get("/executions", headers=headers)).status_code == 200
    bench.clock.now += timedelta(days=91)
    answer = await stranger.get("/executions", headers=headers)
    assert_problem(answer, UNAUTHORIZED, "invalid_key")


async def test_paths_that_lead_nowhere_say_so_to_those_who_have_a_key(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    assert_problem(await stranger.get("/nothing"), UNAUTHORIZED, "key_required")
    answer = await stranger.get("/nothing", headers=bench.key("executions:read"))
    assert_problem(answer, HTTPStatus.NOT_FOUND, "not_found")
    answer = await stranger.put("/executions", headers=bench.key("executions:read"))
    assert_problem(answer, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed")


async def test_a_route_that_nobody_put_into_the_table_is_for_admins(
    bench: Bench, stranger: httpx.AsyncClient
) -> None:
    @bench.app.get("/mine")
    async def mine() -> str:
        return "mine"

    url = "http://test/mine"
    answer = await stranger.get(url, headers=bench.key("executions:read"))
    assert_problem(answer, FORBIDDEN, "insufficient_scope")
    assert (await stranger.get(url, headers=bench.key("admin"))).status_code == 200


async def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(
    bench: Bench, api: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    seconds = [0.0]
    bench.ring.seconds = lambda: seconds[0]
    for revoke in ("here", "elsewhere"):
        headers = bench.key("admin")
        key_id = headers["Authorization"].split("_")[1]
        assert (await stranger.get("/executions", headers=headers)).status_code == 200
        if revoke == "here":
            assert (await api.delete(f"/keys/{key_id}")).json()["revoked_at"] is not None
        else:
            bench.store.end_api_key(key_id, at=bench.clock()).result()  # type: ignore[arg-type]
            assert (await stranger.get("/executions", headers=headers)).status_code == 200
            seconds[0] += HEARD_WITHIN
        answer = await stranger.get("/executions", headers=headers)
        assert_problem(answer, UNAUTHORIZED, "invalid_key")
