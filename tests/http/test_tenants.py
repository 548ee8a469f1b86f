"""What belongs to one tenant does not exist for another: every route, walked as the wrong one."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks

from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId, FlowName, Tenant
from crewserve.domain.principal import Principal, Scope
from crewserve.domain.status import Status
from crewserve.http.gate import asking
from crewserve.http.scopes import Needs
from crewserve.testing.builders import a_line, a_step, an_execution
from tests.support.api import Bench, a_bench

ACME, RIVAL = Tenant("acme"), Tenant("rival")
SECRET = "the secret of acme"
ALL = (Scope.READ, Scope.WRITE, Scope.CANCEL, Scope.RESPOND, "flows:*:execute")
TOPIC = FlowName("topic_flow")
APP = a_bench().app
RULES = APP.rules
OPERATIONS = [
    (method.upper(), path) for path, methods in APP.openapi()["paths"].items() for method in methods
]
BODIES: dict[str, Any] = {
    "/execute": {"topic": "rain"},
    "/fork": {"from_step": "step_1"},
    "/bulk/cancel": {},
}


def clients_of(bench: Bench, **changes: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    headers = bench.key(*ALL, **changes)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


@pytest.fixture
async def acme(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with clients_of(bench, tenant=ACME) as client:
        yield client


@pytest.fixture
async def rival(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with clients_of(bench, tenant=RIVAL) as client:
        yield client


def kept_for_acme(bench: Bench) -> list[ExecutionId]:
    """One of each kind, with a secret in whatever may be shown."""
    failure = Failure(code=FailureCode.FLOW_ERROR, message=SECRET, traceback=SECRET)
    kept = [
        an_execution(tenant=ACME, flow=TOPIC, inputs={"topic": SECRET}),
        an_execution(Status.FAILED, tenant=ACME, flow=TOPIC, failure=failure),
        an_execution(Status.COMPLETED, tenant=ACME, flow=TOPIC, result={"text": SECRET}),
    ]
    for one in kept:
        bench.store._add(one, [a_step(result=SECRET, state={"secret": SECRET})])
        bench.store._lines[one.id] = {1: a_line(text=SECRET)}
    return [one.id for one in kept]


def walked() -> list[tuple[str, str, Any]]:
    """Every route that no administrator's key is needed for, with what it wants."""
    found = []
    for method, path in OPERATIONS:
        rule = RULES.find(method, path)
        assert rule is not None
        if rule.need is not Scope.ADMIN:
            body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
            found.append((method, path.replace("{name}", "topic_flow"), body))
    return found


Walk = dict[tuple[str, str], httpx.Response]


async def answers(client: httpx.AsyncClient, bench: Bench) -> Walk:
    """What the walk answers, by method and path; each with executions of its own."""
    found = {}
    for method, path, body in walked():
        for execution_id in kept_for_acme(bench):
            url = path.replace("{execution_id}", str(execution_id)).replace("{position}", "1")
            query = {"format": "json"} if url.endswith("/events") else None
            found[method, url] = await client.request(method, url, json=body, params=query)
    return found


async def test_no_route_tells_the_wrong_tenant_anything(
    bench: Bench, rival: httpx.AsyncClient
) -> None:
    before = dict(bench.store._rows)
    for (method, url), answer in (await answers(rival, bench)).items():
        assert SECRET not in answer.text, url
        if "/executions/0" in url or "/execution/0" in url:
            assert answer.status_code == 404, (method, url, answer.text)
            assert answer.json()["code"] == "execution_not_found"
    theirs = [row for row in bench.store._rows.values() if row.tenant == ACME]
    assert all(row.cancel is None for row in theirs)
    assert len(theirs) + len(before) >= 3


async def test_every_route_tells_the_right_one(bench: Bench, acme: httpx.AsyncClient) -> None:
    """Else the walk above would prove nothing."""
    found = await answers(acme, bench)
    assert {answer.status_code for answer in found.values()} <= {200, 202, 204, 404, 409, 503}
    missing = {
        url
        for (_, url), answer in found.items()
        if answer.status_code == 404 and answer.json()["code"] == "execution_not_found"
    }
    assert all("/free-flow/" in url for url in missing)
    assert sum(SECRET in answer.text for answer in found.values()) > 10


async def test_numbers_are_those_of_the_tenant(
    bench: Bench, acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    kept_for_acme(bench)
    for client, expected in ((acme, 3), (rival, 0)):
        counted = (await client.get("/api/v1/executions/count")).json()
        assert counted["total"] == expected
        bars = (await client.get("/api/v1/executions/histogram")).json()
        assert SECRET not in str(bars)
        queues = (await client.get("/api/v1/queues")).json()["queues"]
        assert sum(queue["pending"] for queue in queues) == (1 if expected else 0)
        listed = (await client.get("/api/v1/executions")).json()["executions"]
        assert len(listed) == expected


async def test_what_a_tenant_starts_is_its_own(
    bench: Bench, acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    started = await acme.post("/api/v1/topic-flow/execute", json={"topic": "rain"})
    location = started.headers["location"]
    assert (await acme.get(location)).status_code == 200
    assert (await rival.get(location)).status_code == 404
    assert {row.tenant for row in bench.store._rows.values()} == {ACME}


async def test_tenants_do_not_share_idempotency_keys(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    headers, url = {"Idempotency-Key": "order-7"}, "/api/v1/topic-flow/execute"
    first = await acme.post(url, json={"topic": "rain"}, headers=headers)
    other = await rival.post(url, json={"topic": "sun"}, headers=headers)
    again = await acme.post(url, json={"topic": "rain"}, headers=headers)
    assert [one.status_code for one in (first, other, again)] == [202, 202, 202]
    assert first.json()["execution_id"] == again.json()["execution_id"]
    assert first.json()["execution_id"] != other.json()["execution_id"]


async def test_cancelling_many_cancels_one_s_own(bench: Bench, rival: httpx.AsyncClient) -> None:
    kept_for_acme(bench)
    answer = await rival.post("/api/v1/executions/bulk/cancel", json={})
    assert answer.json()["matched"] == 0
    assert all(row.cancel is None for row in bench.store._rows.values())


async def test_a_key_for_one_flow_knows_of_no_other(bench: Bench) -> None:
    [pending, *_] = kept_for_acme(bench)
    async with clients_of(bench, tenant=ACME, flows=frozenset({FlowName("free_flow")})) as client:
        flows = (await client.get("/api/v1/flows")).json()["flows"]
        assert [flow["name"] for flow in flows] == ["free_flow"]
        assert (await client.get("/api/v1/flows/topic_flow")).status_code == 404
        assert (await client.get(f"/api/v1/executions/{pending}")).status_code == 404
        assert (await client.get("/api/v1/executions")).json()["executions"] == []


async def test_who_may_write_may_only_start_again_what_may_be_started(bench: Bench) -> None:
    _, failed, _ = kept_for_acme(bench)
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    headers = bench.key(Scope.READ, Scope.WRITE, "flows:free_flow:execute", tenant=ACME)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        url = f"/api/v1/executions/{failed}/retry"
        answer = await client.post(url, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_code_of_the_deployment_s_own_routes_knows_who_asks(bench: Bench) -> None:
    """Also in threads, and in what goes on after the answer."""
    found: list[Principal | None] = []

    @bench.app.get("/mine")
    def mine(background: BackgroundTasks) -> None:
        found.append(asking.get())
        background.add_task(lambda: found.append(asking.get()))

    transport = httpx.ASGITransport(bench.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for tenant in (ACME, RIVAL):
            answer = await client.get("/mine", headers=bench.key("admin", tenant=tenant))
            assert answer.status_code == 200
    assert [one.tenant for one in found if one] == [ACME, ACME, RIVAL, RIVAL]
    assert asking.get() is None


def test_the_walk_visits_every_kind_of_route() -> None:
    needs = {rule.need for one in OPERATIONS if (rule := RULES.find(*one))}
    assert needs == {*Needs, *Scope} - {Scope.RESPOND, Scope.METRICS}
