"""Finished steps over HTTP: page by page, and one with its state."""

from http import HTTPStatus

import httpx
import pytest

from crewserve.domain.status import Status
from crewserve.testing.builders import a_step, an_execution
from tests.support.api import Bench, assert_problem

UNKNOWN = "01a20684-3c99-7656-b2f7-8842218c7bf5"


@pytest.fixture
def url(bench: Bench) -> str:
    """Of the steps of an execution that has five."""
    execution = an_execution(Status.COMPLETED)
    bench.store._add(execution, [a_step(position) for position in range(1, 6)])
    return f"/executions/{execution.id}/steps"


async def test_pages_are_linked_until_the_last(api: httpx.AsyncClient, url: str) -> None:
    following, seen = f"http://test/api/v1{url}?limit=2", []
    while following:
        answer = await api.get(following)
        seen += [(step["position"], step["result"]) for step in answer.json()["steps"]]
        following = answer.links.get("next", {}).get("url", "")
        assert bool(following) == (answer.json()["next_cursor"] is not None)
    assert seen == [(position, {"n": position}) for position in range(1, 6)]


async def test_a_page_that_is_just_full_is_the_last(api: httpx.AsyncClient, url: str) -> None:
    answer = await api.get(url, params={"limit": 5})
    assert (len(answer.json()["steps"]), answer.json()["next_cursor"]) == (5, None)


async def test_the_state_is_shown_with_one_step_only(api: httpx.AsyncClient, url: str) -> None:
    listed = (await api.get(url)).json()["steps"][2]
    shown = (await api.get(f"{url}/3")).json()
    assert shown == {**listed, "state": {"done": 3}}
    assert "state" not in listed


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "cursor=page2", "cursor=______", "after=3"]
)
async def test_a_wrong_query_is_refused(api: httpx.AsyncClient, url: str, query: str) -> None:
    answer = await api.get(f"{url}?{query}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


async def test_any_cursor_of_the_right_form_is_read(api: httpx.AsyncClient, url: str) -> None:
    answer = await api.get(url, params={"cursor": "f_____"})
    assert (answer.status_code, answer.json()["steps"]) == (HTTPStatus.OK, [])


async def test_what_there_is_not_is_not_found(api: httpx.AsyncClient, url: str) -> None:
    answer = await api.get(f"{url}/6")
    assert_problem(answer, HTTPStatus.NOT_FOUND, "step_not_recorded")
    for path in ("steps", "steps/1"):
        answer = await api.get(f"/executions/{UNKNOWN}/{path}")
        assert_problem(answer, HTTPStatus.NOT_FOUND, "execution_not_found")


@pytest.mark.parametrize("position", ["0", "-1", "last", str(2**31)])
async def test_a_position_is_a_number_from_1(
    api: httpx.AsyncClient, url: str, position: str
) -> None:
    answer = await api.get(f"{url}/{position}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "malformed_id")
