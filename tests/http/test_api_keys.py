"""`/api/v1/keys`."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from tests.support.api import Bench, assert_problem

WISH = {"name": "billing", "scopes": ["executions:read", "flows:topic_flow:execute"]}


async def created(api: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await api.post("/keys", json={**WISH, **changes})
    assert answer.status_code == HTTPStatus.CREATED, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def test_a_new_key_opens_what_it_was_made_for(api: httpx.AsyncClient) -> None:
    made = await created(api, tenant="acme", flows=["topic_flow"])
    assert made["key"].startswith(made["prefix"])
    assert (made["tenant"], made["flows"]) == ("acme", ["topic_flow"])
    headers = {"X-API-Key": made["key"]}
    assert (await api.get("/executions", headers=headers)).status_code == HTTPStatus.OK
    answer = await api.get("/keys", headers=headers)
    assert_problem(answer, HTTPStatus.FORBIDDEN, "insufficient_scope")


async def test_a_key_is_shown_only_once_and_kept_nowhere(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    made = await created(api)
    secret = made["key"].removeprefix(made["prefix"])
    listed = await api.get("/keys")
    assert [one["id"] for one in listed.json()["keys"]] == [made["id"]]
    assert secret not in listed.text
    assert secret not in repr(vars(bench.store))


async def test_a_key_expires_in_90_days_unless_asked_otherwise(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    usual, lasting = await created(api), await created(api, expires_in_days=None)
    assert (await bench.store.api_key(usual["id"])).expires_at == bench.clock() + timedelta(days=90)
    assert lasting["expires_at"] is None


async def test_keys_are_listed_page_by_page(api: httpx.AsyncClient) -> None:
    made = {(await created(api))["id"] for _ in range(3)}
    found: list[str] = []
    url = "/keys?limit=2"
    while url:
        answer = await api.get(url)
        found += [one["id"] for one in answer.json()["keys"]]
        url = answer.links.get("next", {}).get("url", "")
    assert found == sorted(made)


async def test_a_rotated_key_counts_until_the_overlap_is_over(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    old = await created(api)
    answer = await api.post(f"/keys/{old['id']}/rotate", json={"overlap_seconds": 60})
    new = answer.json()
    assert answer.status_code == HTTPStatus.CREATED
    assert [new[name] for name in ("name", "scopes", "tenant")] == [
        old[name] for name in ("name", "scopes", "tenant")
    ]
    for at, expected in ((0, HTTPStatus.OK), (60, HTTPStatus.UNAUTHORIZED)):
        bench.clock.now += timedelta(seconds=at)
        answer = await api.get("/executions", headers={"X-API-Key": old["key"]})
        assert answer.status_code == expected
    answer = await api.get("/executions", headers={"X-API-Key": new["key"]})
    assert answer.status_code == HTTPStatus.OK


async def test_what_has_ended_cannot_be_rotated(api: httpx.AsyncClient) -> None:
    old = await created(api)
    await api.delete(f"/keys/{old['id']}")
    answer = await api.post(f"/keys/{old['id']}/rotate")
    assert_problem(answer, HTTPStatus.CONFLICT, "api_key_ended")


async def test_unknown_keys_are_not_found(api: httpx.AsyncClient) -> None:
    for answer in (
        await api.delete("/keys/0123456789ab"),
        await api.post("/keys/0123456789ab/rotate"),
    ):
        assert_problem(answer, HTTPStatus.NOT_FOUND, "api_key_not_found")


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["flows:a b:execute"]},
        {"name": ""},
        {"name": "a\nb"},
        {"tenant": "../etc"},
        {"flows": ["a b"]},
        {"expires_in_days": 0},
        {"is_admin": True},
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(api: httpx.AsyncClient, changes: Any) -> None:
    answer = await api.post("/keys", json={**WISH, **changes})
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
