"""What happens in executions can be seen: all of it, once, in order, live and afterwards."""

import random
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any

import httpx
import pytest

from tests.support.provider import KEY, Provider, providing
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.streams import (
    PATIENCE,
    Event,
    deaf_reader,
    logged,
    numbers,
    read,
    streamed,
    streaming,
    text_of,
)

WATCHED = FLOWS / "watched.py"
COMMAND = crewserve_serve(f"{WATCHED}:StreamingCrew", f"{WATCHED}:Counting", f"{WATCHED}:Threaded")
CREWS = 30


def about(body: dict[str, Any]) -> str:
    """An answer that says what was asked for."""
    topic = re.search(r"<([\w-]+)>", str(body["messages"]))
    assert topic is not None
    return f"Of {topic[1]} I sing. " + "And so on. " * 40 + f"That was {topic[1]}."


@pytest.fixture(scope="module")
def poets() -> Iterator[Provider]:
    with providing() as provider:
        provider.answers = about
        yield provider


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, poets: Provider) -> Iterator[Server]:
    variables = {**poets.variables, "CREWSERVE_EVENT_CONTENT": "true"}
    folder = tmp_path_factory.mktemp("events")
    with running(COMMAND, folder, variables=variables) as server:
        yield server.wait_for_flows()


def start_and_read(server: Server, topic: str) -> tuple[str, list[Event]]:
    url, headers = f"{server.url}/api/v1/streaming-crew/execute", {"Accept": "text/event-stream"}
    with httpx.stream(
        "POST", url, json={"topic": topic}, headers=headers, timeout=PATIENCE
    ) as answer:
        assert answer.status_code == 200
        execution = answer.headers["location"].rpartition("/")[2]
        return execution, [event for _, event in read(answer.iter_lines())]


def test_of_30_crews_each_reader_sees_its_own_and_nobody_a_key(server: Server) -> None:
    topics = [f"topic-{number}" for number in range(CREWS)]
    with ThreadPoolExecutor(CREWS) as readers:
        found = list(readers.map(lambda topic: start_and_read(server, topic), topics))
    for topic, (execution, events) in zip(topics, found, strict=True):
        log = logged(server, execution)
        assert numbers(events) == numbers(log) == list(range(1, len(log) + 1))
        assert [one["type"] for one in (log[0], log[-1])] == [
            "execution_accepted",
            "execution_completed",
        ]
        assert text_of(events) == text_of(log) == about({"messages": f"<{topic}>"})
        assert set(re.findall(r"topic-\d+", str(events))) == {topic}
        [mine] = [one for one in log if one["type"] == "progress"]
        assert mine["data"]["note"] == f"{topic} with [redacted]"
        assert (mine["step"], mine["channel"]) == ("tell", "custom")
        assert KEY not in str(events)
    assert KEY not in server.log + server.stdout
    for path in server.data.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.own_ground
def test_a_reader_that_comes_back_a_hundred_times_misses_and_doubles_nothing(
    server: Server, poets: Provider
) -> None:
    pieces, chance = Semaphore(0), random.Random(7)
    poets.before_piece = partial(pieces.acquire, timeout=60)
    execution = server.execute("streaming-crew", topic="a-long-story")
    last, seen, visits, over = "", list[Event](), 0, False
    while not over:
        visits += 1
        with streaming(server, execution, last) as events:
            pieces.release(1 if visits < 100 else 1000)
            for last, event in events:  # noqa: B007  # it is used when the loop is left
                seen.append(event)
                over = event["type"] == "execution_completed"
                if visits < 100 and chance.random() < 0.9:
                    break
                pieces.release()
    poets.before_piece = bool
    log = logged(server, execution)
    assert numbers(seen) == numbers(log)
    assert text_of(seen) == text_of(log) == about({"messages": "<a-long-story>"})
    assert visits >= 100
    assert streamed(server, execution, last) == []


def test_a_reader_that_reads_nothing_does_not_slow_the_flow_and_loses_nothing(
    server: Server,
) -> None:
    execution = server.execute("counting", count=2000)
    with deaf_reader(server, execution) as connection:
        assert server.wait_for_end(execution)["result"] == 2000
        with connection.makefile("r") as lines:
            bodies = [line for line in lines if line.startswith("{")]
    shown = [int(found[1]) for body in bodies if (found := re.match(r'\{"seq":(\d+)', body))]
    assert shown == numbers(logged(server, execution))
    assert len(shown) > 2000


def test_the_end_of_a_reader_is_not_felt_by_the_flow(server: Server) -> None:
    execution = server.execute("counting", count=200, seconds=0.005)
    with streaming(server, execution) as events:
        next(events)
    assert server.wait_for_end(execution)["result"] == 200


def test_what_a_thread_without_context_tells_is_told(server: Server) -> None:
    execution = server.run("threaded")["execution_id"]
    assert "progress" in [event["type"] for event in logged(server, execution)]


def test_a_stream_tells_that_an_execution_was_cancelled_and_ends(server: Server) -> None:
    execution = server.execute("counting", count=10_000, seconds=0.05)
    with streaming(server, execution, channel="lifecycle") as events:
        kinds = [next(events)[1]["type"], next(events)[1]["type"]]
        server.cancel(execution, grace_seconds=0)
        kinds += [event["type"] for _, event in events]
    assert kinds[:2] == ["execution_accepted", "attempt_started"]
    assert kinds[-2:] == ["cancel_requested", "execution_cancelled"]


def test_a_stream_tells_that_the_time_was_over(server: Server) -> None:
    options = {"timeout_seconds": "0.5"}
    execution = server.execute("counting", options, count=10_000, seconds=0.05)
    last = streamed(server, execution)[-1]
    assert (last["type"], last["data"]["code"]) == ("execution_failed", "timeout")


def test_whoever_waits_is_answered_at_the_end(server: Server) -> None:
    execution = server.execute("counting", count=20, seconds=0.02)
    url = f"/api/v1/counting/execution/{execution}"
    assert server.client.get(url, params={"wait": 30}).json()["status"] == "completed"


@pytest.mark.own_ground
def test_after_kill_9_the_numbers_go_on(tmp_path: Path) -> None:
    with running(COMMAND, tmp_path) as first:
        first.wait_for_flows()
        execution = first.execute("counting", count=300, seconds=0.02)
        last, seen = "", list[Event]()
        with streaming(first, execution) as events:
            while len(seen) < 50:
                last, event = next(events)
                seen.append(event)
            first.kill()
    with running(COMMAND, tmp_path) as second:
        seen += streamed(second, execution, last)
        log = logged(second, execution)
    assert numbers(seen) == list(range(1, len(log) + 1))
    kinds = [event["type"] for event in log]
    assert kinds.count("attempt_started") == 2
    assert kinds[-1] == "execution_completed"
    ended = log[kinds.index("attempt_ended")]
    assert ended["data"]["outcome"] == "lost"


def test_open_streams_do_not_hold_up_a_server_that_stops(tmp_path: Path) -> None:
    with running(COMMAND, tmp_path, variables={"CREWSERVE_DRAIN_SECONDS": "0"}) as server:
        server.wait_for_flows()
        execution = server.execute("counting", count=100_000, seconds=0.05)
        with streaming(server, execution) as events:
            next(events)
            assert server.stop() in (0, -signal.SIGTERM)
            assert len(list(events)) > 0
        assert "timeout graceful shutdown exceeded" not in server.log


@pytest.mark.own_ground
def test_what_runs_on_another_host_is_streamed_as_well(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    settings = {"CREWSERVE_DATABASE_URL": empty_postgres_url}
    with (
        running(COMMAND, tmp_path / "one", variables=settings) as one,
        running(COMMAND, tmp_path / "two", variables=settings) as two,
        ThreadPoolExecutor(2) as readers,
    ):
        one.wait_for_flows()
        two.wait_for_flows()
        execution = one.execute("counting", count=50, seconds=0.05)
        found = list(readers.map(lambda host: streamed(host, execution), (one, two)))
        log = logged(two, execution)
    assert found == [log, log]
    assert numbers(log) == list(range(1, len(log) + 1))
