"""What executions print and log can be read: all of it, in order, while it comes and afterwards."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.provider import KEY
from tests.support.servers import FLOWS, Server, crewserve_serve, running

LOUD = FLOWS / "loud.py"
COMMAND = crewserve_serve(f"{LOUD}:Loud", f"{LOUD}:Flood")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {"OPENAI_API_KEY": KEY}
    with running(COMMAND, tmp_path_factory.mktemp("logs"), variables=variables) as server:
        yield server.wait_for_flows()


def lines(server: Server, execution: str, query: str = "") -> list[dict[str, Any]]:
    answer = server.client.get(f"/api/v1/executions/{execution}/logs?format=ndjson&{query}")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_every_way_to_write_is_there_with_its_step(server: Server) -> None:
    execution = server.run("loud")["execution_id"]
    found = lines(server, execution)
    texts = {line["text"].partition("\n")[0]: line for line in found}
    spoken = ["printed", "to the descriptor", "by a child", "the key is [redacted]"]
    assert [text for text in texts if text != "aside"] == [*spoken, "it went wrong"]
    assert {texts[text]["step"] for text in (*spoken, "aside")} == {"speak"}
    assert texts["aside"]["stream"] == "stderr"
    wrong = texts["it went wrong"]
    assert (wrong["level"], wrong["logger"], wrong["step"]) == ("error", "loud", "warn")
    assert wrong["text"].endswith("'spoken'")
    assert [line["text"] for line in lines(server, execution, "level=warning")] == [wrong["text"]]
    assert KEY not in str(found)
    assert "printed" not in server.log


def test_a_flood_of_a_million_lines_is_bounded_and_the_flow_ends_well(server: Server) -> None:
    began = time.monotonic()
    execution = server.execute("flood", count=1_000_000)
    found = server.wait_for_end(execution, within=PATIENCE)
    assert (found["status"], found["result"]) == ("completed", 1_000_000)
    assert time.monotonic() - began < PATIENCE
    kept = lines(server, execution)
    assert [line["text"] for line in kept[:20_000]] == [str(number) for number in range(20_000)]
    assert [line["text"] for line in kept[20_000:]] == [
        "… [cut]: what follows is not kept",
        "… [cut]: 980,000 lines",
    ]


def test_followers_see_lines_as_they_come(server: Server) -> None:
    execution = server.execute("flood", count=20, seconds=0.1)
    url = f"{server.url}/api/v1/flood/execution/{execution}/logs?follow=true"
    came: list[float] = []
    with httpx.stream("GET", url, timeout=PATIENCE) as answer:
        for line in answer.iter_lines():
            if line:
                came.append(time.time())
                told = json.loads(line)
                assert told["text"] == str(len(came) - 1)
    assert len(came) == 20
    assert came[-1] - came[0] > 1.0  # 1.9 s were between them
    assert server.wait_for_end(execution)["status"] == "completed"


def test_a_reader_that_does_not_read_holds_up_nobody(server: Server) -> None:
    execution = server.execute("flood", count=19_000)
    url = f"{server.url}/api/v1/executions/{execution}/logs?follow=true&format=text"
    with httpx.stream("GET", url, timeout=PATIENCE) as answer:
        assert server.wait_for_end(execution)["status"] == "completed"
        assert sum(1 for _ in answer.iter_lines()) == 19_000
