"""Errors that a person can act on: over HTTP, and when the server does not start."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.servers import (
    FLOWS,
    Server,
    crewserve_serve,
    data_of,
    run_api,
    run_to_end,
    running,
)

POEM = "/api/v1/poem-flow"
LIST = "/api/v1/executions"
JSON = {"Content-Type": "application/json"}
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "instance", "request_id"}
TOO_MUCH = b'{"sentence_count": 3, "rest": "' + b"x" * 2**20 + b'"}'


def in_pieces() -> Iterator[bytes]:
    """A body whose length is not announced."""
    for begin in range(0, len(TOO_MUCH), 2**16):
        yield TOO_MUCH[begin : begin + 2**16]


PROBLEMS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "unknown flow": ("POST", "/api/v1/no-flow/execute", {"json": {}}, 404, "flow_not_found"),
    "status of an unknown flow": (
        "GET",
        f"/api/v1/no-flow/execution/{uuid4()}",
        {},
        404,
        "flow_not_found",
    ),
    "description of an unknown flow": ("GET", "/api/v1/flows/no_flow", {}, 404, "flow_not_found"),
    "unknown id": ("GET", f"{POEM}/execution/{uuid4()}", {}, 404, "execution_not_found"),
    "unknown id in the list": ("GET", f"{LIST}/{uuid4()}", {}, 404, "execution_not_found"),
    "deleting an unknown id": ("DELETE", f"{LIST}/{uuid4()}", {}, 404, "execution_not_found"),
    "malformed id": ("GET", f"{POEM}/execution/17", {}, 422, "malformed_id"),
    "malformed id in the list": ("GET", f"{LIST}/not-an-id", {}, 422, "malformed_id"),
    "bad status filter": ("GET", f"{LIST}?status=done", {}, 422, "invalid_parameter"),
    "unknown parameter": ("GET", f"{LIST}?flow=poem_flow", {}, 422, "invalid_parameter"),
    "limit of zero": ("GET", f"{LIST}?limit=0", {}, 422, "invalid_parameter"),
    "limit too large": ("GET", f"{LIST}?limit=1001", {}, 422, "invalid_parameter"),
    "limit of words": ("GET", f"{LIST}?limit=ten", {}, 422, "invalid_parameter"),
    "bad cursor": ("GET", f"{LIST}?cursor=page2", {}, 422, "invalid_parameter"),
    "cursor that is not ASCII": ("GET", f"{LIST}?cursor=%C3%A4%00", {}, 422, "invalid_parameter"),
    "bad JSON": (
        "POST",
        f"{POEM}/execute",
        {"content": b'{"sentence_count": ', "headers": JSON},
        400,
        "malformed_json",
    ),
    "body that is not UTF-8": (
        "POST",
        f"{POEM}/execute",
        {"content": b'{"sentence_count": "\xff"}', "headers": JSON},
        400,
        "malformed_json",
    ),
    "no body": ("POST", f"{POEM}/execute", {"headers": JSON}, 422, "invalid_input"),
    "list as a body": ("POST", f"{POEM}/execute", {"json": [3]}, 422, "invalid_input"),
    "wrong content type": (
        "POST",
        f"{POEM}/execute",
        {"content": b"sentence_count=3", "headers": {"Content-Type": "text/plain"}},
        415,
        "unsupported_media_type",
    ),
    "body too large": (
        "POST",
        f"{POEM}/execute",
        {"content": TOO_MUCH, "headers": JSON},
        413,
        "body_too_large",
    ),
    "unknown path": ("GET", "/api/v2/anything", {}, 404, "not_found"),
    "wrong method": ("PUT", LIST, {}, 405, "method_not_allowed"),
}


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    """RFC 9457, and our own additions."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert PROBLEM_KEYS <= problem.keys() <= PROBLEM_KEYS | {"errors"}
    assert problem["type"] == f"urn:crewserve:problem:{code}"
    assert problem["instance"] == answer.request.url.path
    assert len(problem["detail"]) > 10
    assert "Traceback" not in answer.text
    assert problem["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("case", PROBLEMS)
def test_every_error_is_a_problem_document(poem_server: Server, case: str) -> None:
    method, url, options, status, code = PROBLEMS[case]
    headers = {**options.get("headers", {}), "X-Request-ID": "asked-by-a-test"}
    answer = poem_server.client.request(method, url, **{**options, "headers": headers})
    check_problem(answer, status, code)
    assert answer.headers["X-Request-ID"] == "asked-by-a-test"


def test_a_large_body_in_pieces_is_refused_too(poem_server: Server) -> None:
    url = f"{POEM}/execute"
    answer = poem_server.client.post(url, content=in_pieces(), headers=JSON)
    check_problem(answer, 413, "body_too_large")
    assert poem_server.responds()


def test_a_wrong_method_is_told_the_right_ones(poem_server: Server) -> None:
    for url, allowed in ((f"{POEM}/execute", {"POST"}), (f"{LIST}/{uuid4()}", {"GET", "DELETE"})):
        answer = poem_server.client.put(url)
        check_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed


def test_unknown_flows_are_answered_with_those_that_are_served(poem_server: Server) -> None:
    detail = poem_server.client.post("/api/v1/no-flow/execute", json={}).json()["detail"]
    assert "poem_flow" in detail


def test_a_bad_filter_names_its_field_and_what_is_allowed(poem_server: Server) -> None:
    errors = poem_server.client.get(f"{LIST}?status=done&limit=0").json()["errors"]
    assert {error["field"] for error in errors} == {"status", "limit"}
    assert any("completed" in error["message"] for error in errors)


@pytest.mark.parametrize("given", ["", "bad id", "x" * 500, "a\tb"])
def test_an_unfit_request_id_is_replaced(poem_server: Server, given: str) -> None:
    answer = poem_server.client.get("/nothing", headers={"X-Request-ID": given})
    check_problem(answer, 404, "not_found")
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line]


@pytest.mark.parametrize(
    "command",
    [run_api(), crewserve_serve(f"{FLOWS}/shapes.py:Routed")],
    ids=["run_api.py", "crewserve serve"],
)
def test_a_port_in_use_is_one_clear_line(
    poem_server: Server, tmp_path: Path, command: list[str]
) -> None:
    port = poem_server.url.rpartition(":")[2]
    ended = run_to_end([*command, "--port", port], tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert lines(ended.stderr) == [
        f"error: Port {port} on 127.0.0.1 is already in use",
        f"hint: try --port {int(port) + 1}",
    ]


@pytest.mark.parametrize("command", [run_api(), crewserve_serve(f"{FLOWS}/shapes.py:Routed")])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "eighty"),
        ("API_PORT", "70000"),
        ("CREWSERVE_SLOTS", "0"),
        ("CREWSERVE_LEASE_SECONDS", "soon"),
        ("CREWSERVE_MAX_BODY_BYTES", "-1"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_that_names_it(
    tmp_path: Path, command: list[str], name: str, value: str
) -> None:
    ended = run_to_end(command, tmp_path, variables={name: value})
    assert (ended.returncode, ended.stdout) == (1, "")
    error, *hint = lines(ended.stderr)
    assert error.startswith("error: ")
    assert name in error
    assert all(line.startswith("hint: ") for line in hint)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_here_is_one_clear_line(tmp_path: Path, host: str) -> None:
    ended = run_to_end(run_api("--host", host), tmp_path)
    assert ended.returncode == 1
    error, *hint = lines(ended.stderr)
    assert error.startswith("error: ")
    assert host in error
    assert all(line.startswith("hint: ") for line in hint)


def test_a_data_folder_that_cannot_be_one_is_a_clear_line(tmp_path: Path) -> None:
    data_of(tmp_path).write_text("a file, no folder")
    ended = run_to_end(run_api("--port", "0"), tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    error = next(line for line in lines(ended.stderr) if line.startswith("error: "))
    assert str(data_of(tmp_path)) in error


@pytest.mark.parametrize("given", [("--port", "70000"), ("--port", "eighty"), ("--nonsense",)])
def test_a_wrong_argument_is_explained_by_the_usage(tmp_path: Path, given: list[str]) -> None:
    ended = run_to_end(run_api(*given), tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: ")
    assert given[0] in ended.stderr


def test_a_missing_model_key_is_named_by_the_execution(tmp_path: Path) -> None:
    with running(run_api(), tmp_path, variables={"MODEL": "openai/test-model"}) as server:
        found = server.run("poem-flow", sentence_count=1)
    assert found["status"] == "failed"
    assert found["error_details"]["code"] == "flow_error"
    assert "OPENAI_API_KEY is not set" in found["error"]
    assert found["error_details"]["step"] == "generate_poem"
