"""Lines of output over HTTP."""

import asyncio
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from crewserve.domain.execution import Execution, Returned
from crewserve.domain.output import Level, Stream
from crewserve.testing.builders import NOW, a_line, a_new_id
from crewserve.testing.stores import add_running, done, held_by
from tests.support.api import Bench, assert_problem

LINES = [
    a_line(1, text="one", step="write"),
    a_line(2, text="two \x1b[31mred\x1b[0m\x07", stream=Stream.STDERR),
    a_line(3, text="three", stream=Stream.LOG, level=Level.INFO, logger="a.b"),
    a_line(4, text="four", stream=Stream.LOG, level=Level.ERROR, logger="a.b", step="write"),
]


@pytest.fixture
async def running(bench: Bench) -> Execution:
    execution = await add_running(bench.store)
    await done(bench.store.append_lines(held_by(execution), LINES))
    return execution


async def texts(api: httpx.AsyncClient, execution: Execution, query: str) -> list[str]:
    answer = await api.get(f"/executions/{execution.id}/logs?{query}")
    assert answer.status_code == HTTPStatus.OK, answer.text
    return [line["text"].split()[0] for line in answer.json()["lines"]]


async def test_a_line_says_all_that_is_known(api: httpx.AsyncClient, running: Execution) -> None:
    answer = await api.get(f"/executions/{running.id}/logs")
    assert answer.json()["next_after"] is None
    assert answer.json()["lines"][3] == {
        "seq": 4,
        "timestamp": "2026-01-01T12:00:00.000Z",
        "attempt": 1,
        "stream": "log",
        "level": "error",
        "logger": "a.b",
        "step": "write",
        "text": "four",
    }


async def test_pages_meet_and_filters_narrow_down(
    api: httpx.AsyncClient, running: Execution
) -> None:
    answer = await api.get(f"/executions/{running.id}/logs?limit=3&stream=log&stream=stdout")
    assert [line["seq"] for line in answer.json()["lines"]] == [1, 3, 4]
    answer = await api.get(f"/executions/{running.id}/logs?limit=3")
    assert answer.json()["next_after"] == 3
    following = (await api.get(answer.links["next"]["url"])).json()
    assert ([line["seq"] for line in following["lines"]], following["next_after"]) == ([4], None)
    assert await texts(api, running, "level=info") == ["three", "four"]
    assert await texts(api, running, "level=warning") == ["four"]
    assert await texts(api, running, "step=write&after=1") == ["four"]


async def test_all_lines_come_as_json_or_as_text(
    api: httpx.AsyncClient, running: Execution
) -> None:
    url = f"/executions/{running.id}/logs"
    answer = await api.get(url, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.text.splitlines()) == 4
    answer = await api.get(f"{url}?after=1", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "2026-01-01T12:00:00.000Z stderr   - two red\n"
        "2026-01-01T12:00:00.000Z info     - a.b: three\n"
        "2026-01-01T12:00:00.000Z error    write a.b: four\n"
    )


async def test_a_reader_follows_until_the_end(
    api: httpx.AsyncClient, bench: Bench, running: Execution
) -> None:
    url = f"/executions/{running.id}/logs?follow=true&format=text"
    reading = asyncio.create_task(api.get(url))
    async with asyncio.timeout(5):
        while running.id not in bench.live._of_output:
            await asyncio.sleep(0)
    await done(bench.store.append_lines(held_by(running), [a_line(5, text="five")]))
    bench.live.look_for_output(running.id)
    await done(bench.store.append_lines(held_by(running), [a_line(6, text="six")]))
    await done(bench.store.change(running.id, Returned(1), now=NOW))
    bench.live.look(running.id)
    async with asyncio.timeout(5):
        answer = await reading
    assert [line.split()[-1] for line in answer.text.splitlines()] == [
        *("one", "red", "three", "four", "five", "six")
    ]
    again = await api.get(url)
    assert again.text == answer.text
    assert not bench.live._of_output


async def test_a_server_that_stops_lets_readers_go(
    api: httpx.AsyncClient, bench: Bench, running: Execution
) -> None:
    reading = asyncio.create_task(api.get(f"/executions/{running.id}/logs?follow=true"))
    async with asyncio.timeout(5):
        while running.id not in bench.live._of_output:
            await asyncio.sleep(0)
        bench.live.close()
        assert len((await reading).text.splitlines()) == 4


async def test_a_flow_shows_its_own_only(api: httpx.AsyncClient, bench: Bench) -> None:
    started = await api.post("/free-flow/execute", json={})
    execution = started.json()["execution_id"]
    answer = await api.get(f"/free-flow/execution/{execution}/logs")
    assert answer.json() == {"lines": [], "next_after": None}
    for path in (f"/topic-flow/execution/{execution}/logs", f"/executions/{a_new_id()}/logs"):
        assert_problem(await api.get(path), HTTPStatus.NOT_FOUND, "execution_not_found")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("level=loud", "level"),
        ("stream=stdin", "stream"),
        ("after=-1", "after"),
        ("limit=1001", "limit"),
        ("format=xml", "format"),
        ("tail=3", "tail"),
    ],
)
async def test_what_makes_no_sense_is_named(
    api: httpx.AsyncClient, running: Execution, query: str, field: str
) -> None:
    answer = await api.get(f"/executions/{running.id}/logs?{query}")
    problem: Any = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")
    assert [error["field"] for error in problem["errors"]] == [field]
