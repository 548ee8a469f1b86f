"""`/api/v1/audit`: who did what."""

from typing import Any

import httpx

from crewserve.domain.ids import Tenant
from crewserve.domain.status import Status
from crewserve.testing.builders import a_worker, an_execution
from tests.support.api import Bench


async def entries(api: httpx.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    answer = await api.get("/audit", params=filters)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


async def test_whatever_an_operator_does_is_noted(api: httpx.AsyncClient, bench: Bench) -> None:
    pending, ended = an_execution(), an_execution(Status.COMPLETED)
    for one in (pending, ended):
        bench.store._add(one, [])
    bench.store.beat(a_worker("ann:1:0:00")).result()
    made = await api.post("/keys", json={"name": "a", "scopes": ["admin"]})
    key_id = made.json()["id"]
    done = [
        ("key.created", key_id, made),
        ("queue.paused", "topic_flow", await api.post("/queues/topic_flow/pause")),
        ("queue.resumed", "topic_flow", await api.post("/queues/topic_flow/resume")),
        ("worker.drained", "ann:1:0:00", await api.post("/workers/ann:1:0:00/drain")),
        ("worker.resumed", "ann:1:0:00", await api.post("/workers/ann:1:0:00/resume")),
        (
            "execution.cancelled",
            str(pending.id),
            await api.post(f"/executions/{pending.id}/cancel", json={"reason": "enough"}),
        ),
        ("executions.cancelled", "*", await api.post("/executions/bulk/cancel", json={})),
        ("execution.deleted", str(ended.id), await api.delete(f"/executions/{ended.id}")),
        ("key.revoked", key_id, await api.delete(f"/keys/{key_id}")),
    ]
    assert all(answer.is_success for _, _, answer in done)
    found = await entries(api)
    assert [(one["action"], one["target"]) for one in reversed(found)] == [
        (action, target) for action, target, _ in done
    ]
    assert {one["actor"] for one in found} == {"this machine"}


async def test_an_entry_says_who_and_never_a_secret(bench: Bench) -> None:
    headers = bench.key("admin", tenant=Tenant("acme"))
    transport = httpx.ASGITransport(bench.app, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        client.headers.update(headers)
        made = (await client.post("/keys", json={"name": "a", "scopes": ["admin"]})).json()
        [entry] = await entries(client, action="key.created")
    assert (entry["actor"], entry["tenant"]) == (headers["Authorization"].split("_")[1], "acme")
    assert entry["details"] == {"name": "a", "tenant": "default", "scopes": ["admin"]}
    assert made["key"] not in str(entry)


async def test_what_only_asks_or_was_refused_is_not_noted(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    await api.get("/executions")
    await api.post("/executions/bulk/cancel", json={"dry_run": True})
    await api.post("/queues/nothing/pause")
    assert await entries(api) == []


async def test_the_log_is_filtered_and_paged(api: httpx.AsyncClient, bench: Bench) -> None:
    for _ in range(3):
        await api.post("/queues/topic_flow/pause")
        await api.post("/queues/topic_flow/resume")
    assert len(await entries(api, action="queue.paused")) == 3
    assert await entries(api, actor="nobody") == []
    found, url = [], "/audit?limit=4"
    while url:
        answer = await api.get(url)
        found += answer.json()["entries"]
        url = answer.links.get("next", {}).get("url", "")
    assert [one["id"] for one in found] == sorted((one["id"] for one in found), reverse=True)
    assert len(found) == 6


async def test_only_administrators_read_it(bench: Bench) -> None:
    transport = httpx.ASGITransport(bench.app)
    headers = bench.key("executions:read")
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        assert (await client.get("/audit", headers=headers)).status_code == 403
