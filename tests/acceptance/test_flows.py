"""`crewserve serve`: flows of every kind, with no code at all."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import processes
from tests.support.provider import POEM, Provider
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

IN_MODULE = (
    "RequiredInputs",
    "TypedResult",
    "DictState",
    "AsyncSteps",
    "Routed",
    "Undeclared",
    "LargeNumber",
    "SeveralStarts",
)
IN_FILE = (
    "Raising",
    "RaisingOddly",
    "Huge",
    "ClosingAll",
    "SelfKilling",
    "Gated",
    "LeavingBehind",
    "Talkative",
    "Surroundings",
)
TARGETS = (
    *(f"shapes:{name}" for name in IN_MODULE),
    str(FLOWS / "shapes.py") + ":CrewWritten",
    *(f"trouble.py:{name}" for name in IN_FILE),
    "bakery/orders.py",
    "morning/main.py",
    "evening/main.py",
    "broken:Broken",
    "shapes:NoSuchFlow",
    "module_level.py:ModuleLevel",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    """Named by module, by relative path and by absolute path, all at once."""
    command, folder = crewserve_serve(*TARGETS), tmp_path_factory.mktemp("flows")
    with running(command, folder, cwd=FLOWS, variables=provider.variables) as found:
        yield found.wait_for_flows()


def refused_fields(server: Server, path: str, body: Any) -> set[str]:
    """POST *body*, which must be refused as a wrong input; returns the fields it names."""
    before = len(server.all())
    answer = server.client.post(f"/api/v1/{path}/execute", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert len(server.all()) == before
    return {error["field"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("path", "inputs", "result"),
    [
        ("required-inputs", {"customer": "Ada", "pieces": 2}, "2 for Ada"),
        (
            "typed-result",
            {"customer": "Ada", "pieces": 2},
            {"customer": "Ada", "total": 6, "due": "2030-01-31"},
        ),
        ("dict-state", {"b": 1, "a": [2]}, ["a", "b"]),
        ("dict-state", {}, []),
        ("async-steps", {}, "found 42"),
        ("routed", {"points": 80}, "well done"),
        ("routed", {"points": 20}, "once more"),
        ("routed", {}, "once more"),
        ("undeclared", {"points": 80}, "well done"),
        ("large-number", {}, 2**64 + 1),
        ("several-starts", {}, ["left", "right"]),
        ("crew-written", {}, POEM),
        ("baking", {}, "baked in bakery.orders"),
        ("opening", {}, "morning"),
        ("closing", {}, "evening"),
    ],
)
def test_flows_of_every_shape_complete(
    server: Server, path: str, inputs: dict[str, Any], result: Any
) -> None:
    found = server.run(path, **inputs)
    assert (found["status"], found["result"], found["error"]) == ("completed", result, None)


@pytest.mark.checks_inputs
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"customer", "pieces"}),
        ({"customer": "Ada", "pieces": 0}, {"pieces"}),
        ({"customer": ["Ada"], "pieces": "two"}, {"customer", "pieces"}),
        ({"customer": "Ada", "pieces": 1, "tags": ["a", 2]}, {"tags.1"}),
    ],
)
def test_wrong_inputs_are_refused_by_the_name_of_each_field(
    server: Server, body: dict[str, Any], fields: set[str]
) -> None:
    assert refused_fields(server, "required-inputs", body) == fields


@pytest.mark.parametrize("path", ["required-inputs", "dict-state"])
def test_an_id_is_refused_as_an_input(server: Server, path: str) -> None:
    body = {"customer": "Ada", "pieces": 1, "id": "somebody-elses"}
    assert refused_fields(server, path, body) == {"id"}


@pytest.mark.parametrize("body", [[1, 2], "text", 3, None])
def test_inputs_must_be_an_object(server: Server, body: Any) -> None:
    assert refused_fields(server, "dict-state", body) == {""}


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\\ud800"}',
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"a":' * 50_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
    ids=["half a surrogate pair", "300 levels", "50000 levels", "5000 digits"],
)
def test_odd_json_is_accepted_or_refused_but_breaks_nothing(server: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{server.url}/api/v1/dict-state/execute", content=body, headers=headers)
    assert answer.status_code in {202, 400, 422}, answer.text
    if answer.is_success:
        assert server.wait_for_end(answer.json()["execution_id"])["status"] == "completed"


def test_a_flow_that_raises_tells_its_error_step_and_traceback(server: Server) -> None:
    found = server.run("raising")
    assert (found["status"], found["result"]) == ("failed", None)
    assert found["error"] == "the cake cannot be divided by nobody"
    details = found["error_details"]
    assert (details["code"], details["type"]) == ("flow_error", "ValueError")
    assert details["step"] == "divide"
    assert 'raise ValueError("the cake' in details["traceback"]


def test_an_error_that_is_not_unicode_stays_the_flows_error(server: Server) -> None:
    found = server.run("raising-oddly")
    assert found["status"] == "failed"
    assert found["error_details"]["code"] == "flow_error"
    assert found["error_details"]["type"] == "FileNotFoundError"
    assert found["error"].startswith("caf")


def test_a_result_that_nobody_can_read_is_told_at_once(server: Server) -> None:
    found = server.run("huge")
    assert (found["status"], found["error_details"]["code"]) == ("failed", "invalid_output")
    assert found["error"].startswith("The result cannot be read: Exceeds the limit (4300 digits)")
    assert len(found["attempts"]) == 1


def test_a_flow_that_closes_its_line_to_the_server_still_ends(server: Server) -> None:
    found = server.wait_for_end(server.execute("closing-all"), within=30)
    assert found["status"] == "failed"
    assert found["error_details"]["code"] == "worker_lost"


def test_a_process_that_dies_takes_nothing_else_with_it(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    others = [server.execute("gated", gate=str(gate)) for _ in range(3)]
    server.wait_until("running", *others)
    killed = server.run("self-killing")
    assert killed["status"] == "failed"
    assert killed["error_details"]["code"] == "worker_lost"
    assert signal.SIGSEGV.name in killed["error"]
    gate.touch()
    server.wait_until("completed", *others)


def test_a_module_that_does_not_import_is_reported_with_its_traceback(server: Server) -> None:
    listed = server.flows()["broken"]
    assert listed["status"] == "broken"
    assert "the oven is not plugged in" in listed["error"]
    shown = server.client.get("/api/v1/flows/broken").json()
    assert 'raise RuntimeError("the oven is not plugged in")' in shown["traceback"]
    assert "RuntimeError: the oven is not plugged in" in server.log
    assert "Traceback (most recent call last)" in server.log
    assert server.flows()["required_inputs"]["status"] == "ready"


def test_a_class_that_is_not_there_is_reported_with_those_that_are(server: Server) -> None:
    listed = server.flows()["no_such_flow"]
    assert listed["status"] == "broken"
    assert "NoSuchFlow" in listed["error"]
    assert "RequiredInputs" in listed["error"]


def test_a_flow_that_could_not_be_loaded_is_unavailable(server: Server) -> None:
    answer = server.client.post("/api/v1/broken/execute", json={})
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "flow_unavailable"
    assert "the oven is not plugged in" in answer.json()["detail"]


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_a_module_that_makes_a_flow_when_imported_still_runs(server: Server, attempt: str) -> None:
    found = server.run("module-level", attempt=attempt)
    assert (found["status"], found["result"]) == ("completed", "still works")


def test_what_a_flow_prints_is_in_its_own_log_only(server: Server) -> None:
    execution_id = server.run("talkative")["execution_id"]
    output = server.client.get(f"/api/v1/executions/{execution_id}/logs?format=text").text
    for word in ("a word on stdout", "a word on stderr", "a word of a child"):
        assert output.count(word) == 1
        assert word not in server.log
        assert word not in server.stdout
    template_log = (server.data / "template.log").read_text()
    assert "a word" not in template_log


def test_each_execution_has_a_directory_an_environment_and_random_numbers_of_its_own(
    server: Server,
) -> None:
    ids = [server.execute("surroundings") for _ in range(6)]
    seen = [server.wait_for_end(execution_id)["result"] for execution_id in ids]
    assert [one["execution"] for one in seen] == ids
    for name in ("cwd", "random", "numpy"):
        assert len({one[name] for one in seen}) == len(ids), name
    assert all(one["found"] == [] and one["inherited"] == "" for one in seen)
    for execution_id, one in zip(ids, seen, strict=True):
        here = Path(one["cwd"])
        assert here.is_relative_to(server.folder(execution_id))
        assert (here / "here.txt").read_text() == "mine"


def test_a_process_that_a_flow_leaves_behind_is_gone_after_its_end(server: Server) -> None:
    found = server.run("leaving-behind")
    assert found["status"] == "completed", found
    left = found["result"]
    eventually(lambda: not processes.is_alive(left), within=5, what="the stray is gone")


def test_flows_see_neither_the_servers_settings_nor_its_folder(server: Server) -> None:
    cwd = Path(server.run("surroundings")["result"]["cwd"])
    assert cwd != FLOWS
    assert os.path.commonpath([cwd, server.data]) == str(server.data)


def test_what_is_served_is_what_was_named(server: Server) -> None:
    names = server.flows()
    assert len(names) == len(TARGETS)
    assert names["baking"]["description"] == "Bakes."
    shown = server.client.get("/api/v1/flows/required_inputs").json()
    assert shown["input_schema"]["required"] == ["customer", "pieces"]
    assert "id" not in shown["input_schema"]["properties"]


def test_the_graph_shows_routes_and_joins(server: Server) -> None:
    routed = server.client.get("/api/v1/flows/routed").json()["graph"]
    assert {node["name"]: node["type"] for node in routed["nodes"]} == {
        "look": "start",
        "judge": "router",
        "congratulate": "listen",
        "console": "listen",
    }
    labels = {(edge["target"], edge["label"]) for edge in routed["edges"]}
    assert {("congratulate", "passed"), ("console", "repeat")} <= labels
    joined = server.client.get("/api/v1/flows/several_starts").json()["graph"]["edges"]
    assert {(edge["source"], edge["target"], edge["join"]) for edge in joined} == {
        ("left", "join", "and"),
        ("right", "join", "and"),
    }


def test_every_listener_of_the_graph_has_something_to_listen_to(server: Server) -> None:
    graph = server.client.get("/api/v1/flows/undeclared").json()["graph"]
    heard = {(edge["target"], edge["label"]) for edge in graph["edges"]}
    assert heard == {("judge", None), ("congratulate", "passed")}


def test_openapi_describes_the_inputs_of_each_flow(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    body = document["paths"]["/api/v1/required-inputs/execute"]["post"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert schema["properties"]["pieces"]["minimum"] == 1
