"""Health over HTTP."""

from http import HTTPStatus

import httpx

from tests.support.api import Bench, assert_problem


async def test_a_server_that_has_everything_is_ready(api: httpx.AsyncClient) -> None:
    assert (await api.get("http://test/health/live")).json() == {"status": "alive"}
    answer = await api.get("http://test/health/ready")
    assert answer.json() == {"status": "ready", "parts": ["flows"]}


async def test_a_server_that_lacks_something_lives_and_says_what_it_lacks(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    bench.host.unready = "The template process ended; it is started again"
    answer = await api.get("http://test/health/ready")
    problem = assert_problem(answer, HTTPStatus.SERVICE_UNAVAILABLE, "server_not_ready")
    reason = bench.host.unready
    assert problem["errors"] == [{"field": "flows", "message": reason, "type": "not_ready"}]
    assert (await api.get("http://test/health/live")).is_success
