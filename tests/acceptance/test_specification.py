"""The specification, line by line, against the server that it describes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.provider import KEY, POEM, Provider
from tests.support.servers import Server, run_api, running

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None and "CI" not in os.environ, reason="curl is not installed"
)
STATUS_KEYS = {
    "execution_id",
    "flow_name",
    "status",
    "created_at",
    "started_at",
    "completed_at",
    "result",
    "error",
}
TIMES = ("created_at", "started_at", "completed_at")
WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

EXECUTE = """curl -X POST "http://127.0.0.1:8000/api/v1/poem-flow/execute" \\
  -H "Content-Type: application/json" \\
  -d '{"sentence_count": 3}'"""
STATUS = (
    'curl "http://127.0.0.1:8000/api/v1/poem-flow/execution/550e8400-e29b-41d4-a716-446655440000"'
)
LISTS = {
    'curl "http://127.0.0.1:8000/api/v1/executions"': {},
    'curl "http://127.0.0.1:8000/api/v1/executions?flow_name=poem_flow"': {
        "flow_name": "poem_flow"
    },
    'curl "http://127.0.0.1:8000/api/v1/executions?status=completed"': {"status": "completed"},
    'curl "http://127.0.0.1:8000/api/v1/executions?flow_name=poem_flow&status=completed'
    '&limit=10"': {"flow_name": "poem_flow", "status": "completed"},
}
"""The examples as printed, and what every listed execution must then have."""


@pytest.fixture(scope="module")
def poem(poem_server: Server) -> dict[str, Any]:
    """A poem flow execution that has completed."""
    return poem_server.run("poem-flow", sentence_count=3)


def curl(printed: str, server: Server) -> Any:
    """Run a command of the specification, with only the address changed."""
    command = printed.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-c", f"{command} --silent --show-error --fail"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return json.loads(done.stdout)


@needs_curl
def test_the_first_example_starts_an_execution(poem_server: Server) -> None:
    answer = curl(EXECUTE, poem_server)
    execution_id = answer["execution_id"]
    assert str(UUID(execution_id)) == execution_id
    assert answer == {
        "execution_id": execution_id,
        "status": "pending",
        "message": f"Poem flow execution initiated with ID: {execution_id}",
    }


@needs_curl
def test_the_second_example_shows_the_poem(poem_server: Server, poem: dict[str, Any]) -> None:
    command = STATUS.replace("550e8400-e29b-41d4-a716-446655440000", poem["execution_id"])
    answer = curl(command, poem_server)
    assert answer.keys() == STATUS_KEYS
    assert answer["flow_name"] == "poem_flow"
    assert answer["status"] == "completed"
    assert answer["result"] == {"sentence_count": 3, "poem": POEM}
    assert answer["error"] is None


@needs_curl
@pytest.mark.parametrize("printed", LISTS)
def test_the_third_examples_list_what_their_filters_ask_for(
    printed: str, poem_server: Server, poem: dict[str, Any]
) -> None:
    answer = curl(printed, poem_server)
    assert answer.keys() == {"executions", "next_cursor"}
    assert all(found.keys() >= STATUS_KEYS for found in answer["executions"])
    for name, value in LISTS[printed].items():
        assert {found[name] for found in answer["executions"]} == {value}
    assert "limit=10" not in printed or len(answer["executions"]) <= 10


def test_starting_answers_202_and_says_where_the_execution_is(poem_server: Server) -> None:
    answer = poem_server.client.post("/api/v1/poem-flow/execute", json={"sentence_count": 1})
    assert answer.status_code == httpx.codes.ACCEPTED
    body = answer.json()
    assert answer.headers["Location"] == f"/api/v1/poem-flow/execution/{body['execution_id']}"
    assert poem_server.client.get(answer.headers["Location"]).json().keys() == STATUS_KEYS


def test_times_have_milliseconds_and_z_and_follow_each_other(poem: dict[str, Any]) -> None:
    times = [poem[name] for name in TIMES]
    assert all(WIRE_TIME.fullmatch(time) for time in times), times
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_the_execution_of_any_flow_is_shown_with_its_inputs(poem: dict[str, Any]) -> None:
    more = {"inputs", "attempt", "max_attempts", "worker", "attempts", "parent_id"}
    times = {"available_at", "cancel_requested_at", "cancel_reason", "timeout_seconds"}
    turn = {"queue", "priority", "concurrency_key", "position", "usage"}
    assert poem.keys() == STATUS_KEYS | more | times | turn
    assert poem["inputs"] == {"sentence_count": 3}
    assert poem["attempt"] == 1
    assert poem["worker"] is None


def test_the_crew_asks_the_provider_with_the_key_from_the_environment(
    poem_server: Server, provider: Provider
) -> None:
    before = len(provider.requests)
    poem_server.run("poem-flow", sentence_count=4)
    asked = provider.requests[before:]
    assert {request["model"] for request in asked} == {"test-model"}
    assert any("4" in json.dumps(request["messages"]) for request in asked)
    assert set(provider.authorizations[before:]) == {f"Bearer {KEY}"}


def test_without_a_sentence_count_the_flow_chooses_one(poem_server: Server) -> None:
    found = poem_server.run("poem-flow")
    assert found["status"] == "completed", found
    assert 1 <= found["result"]["sentence_count"] <= 5


def test_the_poem_is_written_into_the_executions_own_folder(
    poem_server: Server, poem: dict[str, Any]
) -> None:
    folder = poem_server.folder(poem["execution_id"])
    assert [path.read_text() for path in folder.rglob("poem.txt")] == [f"{POEM}\n"]
    assert not (poem_server.data.parent / "poem.txt").exists()


@pytest.mark.parametrize("count", [0, 21, "three", 1.5])
def test_a_wrong_sentence_count_is_refused_by_name(poem_server: Server, count: Any) -> None:
    before = len(poem_server.all())
    answer = poem_server.client.post("/api/v1/poem-flow/execute", json={"sentence_count": count})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in answer.json()["errors"]] == ["sentence_count"]
    assert len(poem_server.all()) == before


def test_the_root_says_where_to_go(poem_server: Server) -> None:
    about = poem_server.client.get("/").raise_for_status().json()
    for name in ("docs", "redoc", "health", "flows", "executions"):
        assert poem_server.client.get(about[name]).is_success, name


def test_health_says_healthy(poem_server: Server) -> None:
    assert poem_server.client.get("/health").json()["status"] == "healthy"


@pytest.mark.parametrize(("path", "page"), [("/docs", "swagger-ui"), ("/redoc", "redoc")])
def test_the_documentation_pages_are_there(poem_server: Server, path: str, page: str) -> None:
    answer = poem_server.client.get(path)
    assert answer.is_success
    assert answer.headers["Content-Type"].startswith("text/html")
    assert page in answer.text
    assert "/openapi.json" in answer.text


def test_openapi_names_every_route_of_the_specification(poem_server: Server) -> None:
    paths = poem_server.client.get("/openapi.json").json()["paths"]
    assert "post" in paths["/api/v1/poem-flow/execute"]
    assert "get" in paths["/api/v1/poem-flow/execution/{execution_id}"]
    assert "get" in paths["/api/v1/executions"]
    assert paths["/api/v1/executions/{execution_id}"].keys() == {"get", "delete"}
    assert {"/", "/health", "/api/v1/flows", "/api/v1/flows/{name}"} <= paths.keys()


def test_filters_that_nothing_fits_give_an_empty_list(poem_server: Server) -> None:
    for filters in ({"flow_name": "no_such_flow"}, {"status": "cancelled"}):
        assert poem_server.all(**filters) == []


def test_the_list_is_newest_first(poem_server: Server) -> None:
    ids = [poem_server.execute("poem-flow", sentence_count=1) for _ in range(3)]
    listed = [found["execution_id"] for found in poem_server.all()]
    assert [found for found in listed if found in ids] == ids[::-1]


def walk(server: Server, first: httpx.URL, by: str) -> Iterator[str]:
    """Every id, page by page, by following the cursor in the body or the `Link` header."""
    url = first
    while True:
        answer = server.client.get(url).raise_for_status()
        page, links = answer.json(), answer.links
        assert 1 <= len(page["executions"]) <= 2
        yield from (found["execution_id"] for found in page["executions"])
        assert (page["next_cursor"] is None) == ("next" not in links)
        if page["next_cursor"] is None:
            return
        by_cursor = first.copy_set_param("cursor", page["next_cursor"])
        url = by_cursor if by == "next_cursor" else httpx.URL(links["next"]["url"])


@pytest.mark.parametrize("by", ["next_cursor", "Link"])
def test_pages_walk_everything_exactly_once(poem_server: Server, by: str) -> None:
    started = {poem_server.execute("poem-flow", sentence_count=1) for _ in range(5)}
    everything = {found["execution_id"] for found in poem_server.all(flow_name="poem_flow")}
    url = httpx.URL("/api/v1/executions?flow_name=poem_flow&limit=2")
    walked = list(walk(poem_server, url, by))
    assert len(walked) == len(set(walked))
    assert started <= everything == set(walked)


def test_a_deleted_execution_is_gone_with_its_files(poem_server: Server) -> None:
    execution_id = poem_server.run("poem-flow", sentence_count=1)["execution_id"]
    assert poem_server.folder(execution_id).exists()
    url = f"/api/v1/executions/{execution_id}"
    deleted = poem_server.client.delete(url)
    assert (deleted.status_code, deleted.content) == (httpx.codes.NO_CONTENT, b"")
    assert not poem_server.folder(execution_id).exists()
    for gone in (poem_server.client.get(url), poem_server.client.delete(url)):
        assert (gone.status_code, gone.json()["code"]) == (404, "execution_not_found")
    assert execution_id not in {found["execution_id"] for found in poem_server.all()}


def test_what_runs_cannot_be_deleted(poem_server: Server, provider: Provider) -> None:
    provider.delay = 2.0
    try:
        execution_id = poem_server.execute("poem-flow", sentence_count=1)
        poem_server.wait_until("running", execution_id)
        refused = poem_server.client.delete(f"/api/v1/executions/{execution_id}")
    finally:
        provider.delay = 0.0
    assert (refused.status_code, refused.json()["code"]) == (409, "execution_active")
    assert poem_server.wait_for_end(execution_id)["status"] == "completed"


def test_the_served_flows_are_listed(poem_server: Server) -> None:
    assert poem_server.client.get("/api/v1/flows").json() == {
        "flows": [
            {
                "name": "poem_flow",
                "status": "ready",
                "description": "Write a short poem of a given or random number of sentences.",
                "execute_url": "/api/v1/poem-flow/execute",
                "error": None,
            }
        ]
    }


@pytest.mark.parametrize("name", ["poem_flow", "poem-flow"])
def test_a_flow_shows_its_inputs_and_its_graph(poem_server: Server, name: str) -> None:
    flow = poem_server.client.get(f"/api/v1/flows/{name}").raise_for_status().json()
    assert flow["name"] == "poem_flow"
    count = flow["input_schema"]["properties"]["sentence_count"]
    assert {"type": "integer", "minimum": 1, "maximum": 20} in count["anyOf"]
    steps = [(node["name"], node["type"]) for node in flow["graph"]["nodes"]]
    assert sorted(steps) == [
        ("generate_poem", "listen"),
        ("generate_sentence_count", "start"),
        ("save_poem", "listen"),
    ]
    edges = {(edge["source"], edge["target"]) for edge in flow["graph"]["edges"]}
    assert edges == {
        ("generate_sentence_count", "generate_poem"),
        ("generate_poem", "save_poem"),
    }
    assert re.fullmatch(r"[0-9a-f]{64}", flow["digest"])


def test_an_execution_has_only_one_flow(poem_server: Server) -> None:
    answer = poem_server.client.get(f"/api/v1/poem-flow/execution/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "execution_not_found")


def test_host_and_port_come_from_the_command_line_or_the_env_file(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    (tmp_path / ".env").write_text(f"API_HOST=127.0.0.1\nAPI_PORT={unused_tcp_port}\n")
    with running([*run_api(), "--host", "127.0.0.2"], tmp_path / "a", cwd=tmp_path) as chosen:
        assert chosen.url.startswith("http://127.0.0.2:")
        assert not chosen.url.endswith(f":{unused_tcp_port}")
    with running(run_api(), tmp_path / "b", cwd=tmp_path, port=None) as from_file:
        assert from_file.url == f"http://127.0.0.1:{unused_tcp_port}"
