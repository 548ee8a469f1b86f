"""How often who may ask."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.application import rate_limiting
from crewserve.application.rate_limiting import RateLimiting
from crewserve.domain.access_errors import TooManyRequests
from crewserve.domain.ids import Tenant
from crewserve.domain.principal import Principal
from crewserve.domain.rate_limit import What, parse
from crewserve.http.gate import Auth
from tests.support.api import Bench, assert_problem

LIMITED = HTTPStatus.TOO_MANY_REQUESTS
START = {"topic": "rain"}


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def limit(bench: Bench, seconds: Seconds, *texts: str) -> None:
    bench.limiting = RateLimiting([*map(parse, texts)], seconds)
    bench.attach()


@pytest.fixture
async def stranger(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with client_at(bench, "203.0.113.7") as client:
        yield client


def client_at(bench: Bench, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(bench.app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")


async def statuses(client: httpx.AsyncClient, count: int, **options: Any) -> list[int]:
    return [(await client.get("/executions", **options)).status_code for _ in range(count)]


async def test_who_asks_too_often_is_told_when_to_come_back(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "key=2/minute")
    headers = bench.key("admin")
    first = await stranger.get("/executions", headers=headers)
    assert first.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert first.headers["ratelimit"] == '"key";r=1;t=30'
    await stranger.get("/executions", headers=headers)
    refused = await stranger.get("/executions", headers=headers)
    assert_problem(refused, LIMITED, "rate_limited")
    assert refused.headers["ratelimit"] == '"key";r=0;t=60'
    assert refused.headers["retry-after"] == "30"
    seconds.now += 30
    assert await statuses(stranger, 2, headers=headers) == [200, LIMITED]


async def test_keys_tenants_and_addresses_have_buckets_of_their_own(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "key=2/minute", "tenant=3/minute", "address=5/minute")
    one, other = (bench.key("admin", tenant=Tenant("acme")) for _ in range(2))
    rival = bench.key("admin", tenant=Tenant("rival"))
    assert await statuses(stranger, 3, headers=one) == [200, 200, LIMITED]
    assert await statuses(stranger, 2, headers=other) == [200, LIMITED]
    assert await statuses(stranger, 3, headers=rival) == [200, 200, LIMITED]
    async with client_at(bench, "203.0.113.8") as elsewhere:
        assert await statuses(elsewhere, 1, headers=bench.key("admin")) == [200]


async def test_kinds_of_requests_may_have_limits_of_their_own(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "key:start=1/minute", "key:change=1/minute")
    headers = bench.key("admin")
    started = await stranger.post("/topic-flow/execute", json=START, headers=headers)
    assert started.status_code == HTTPStatus.ACCEPTED
    location = started.headers["location"]
    again = await stranger.post("/topic-flow/execute", json=START, headers=headers)
    assert_problem(again, LIMITED, "rate_limited")
    retried = f"/executions/{location.rpartition('/')[2]}/retry"
    assert (await stranger.post(retried, headers=headers)).status_code == LIMITED
    assert await statuses(stranger, 3, headers=headers) == [200] * 3
    changes = [
        await stranger.post("/executions/bulk/cancel", json={}, headers=headers) for _ in "ab"
    ]
    assert [one.status_code for one in changes] == [200, LIMITED]
    assert "ratelimit" not in (await stranger.get("/executions", headers=headers)).headers


async def test_a_refused_request_takes_nothing_from_other_buckets(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "tenant=2/minute", "key=1/minute")
    one, other = bench.key("admin"), bench.key("admin")
    assert await statuses(stranger, 5, headers=one) == [200, *[LIMITED] * 4]
    assert await statuses(stranger, 1, headers=other) == [200]


async def test_guesses_are_slowed_down_but_good_keys_are_not(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "address:refused=2/minute")
    guess = {"X-API-Key": "csk_0123456789ab_" + "a" * 43}
    assert await statuses(stranger, 4, headers=guess) == [401, 401, LIMITED, LIMITED]
    assert await statuses(stranger, 9, headers=bench.key("admin")) == [200] * 9


async def test_programs_of_this_machine_are_not_limited(
    bench: Bench, api: httpx.AsyncClient, seconds: Seconds
) -> None:
    limit(bench, seconds, "address=1/minute", "tenant=1/minute")
    assert await statuses(api, 5) == [200] * 5
    assert await statuses(api, 2, headers=bench.key("admin")) == [200, LIMITED]


async def test_an_open_server_limits_addresses(
    bench: Bench, stranger: httpx.AsyncClient, seconds: Seconds
) -> None:
    bench.auth = Auth.NONE
    limit(bench, seconds, "address=1/minute")
    assert await statuses(stranger, 2) == [200, LIMITED]
    health = [(await stranger.get("http://test/health")).status_code for _ in range(3)]
    assert health == [200] * 3


def test_buckets_that_are_full_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiting, "FEW", 10)
    seconds = Seconds()
    limiting = RateLimiting([parse("address=1/second")], seconds)
    for number in range(5000):
        seconds.now += 0.1
        limiting.take(What.READ, str(number))
    assert len(limiting._full_at) <= 1000
    with pytest.raises(TooManyRequests):
        limiting.take(What.READ, "4999")


def test_who_has_no_key_has_no_bucket_for_one() -> None:
    limiting = RateLimiting([parse("key=1/minute")], Seconds())
    principal = Principal(scopes=frozenset())
    assert [limiting.take(What.READ, "a", principal) for _ in range(3)] == [[], [], []]


def test_headers_are_structured_fields() -> None:
    """RFC 9651: a list of strings with integers as parameters."""
    name = parse("key:start=60/minute").name
    assert re.fullmatch(r"[ !#-\[\]-~]*", name)
