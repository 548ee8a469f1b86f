"""What an execution used and cost can be seen, whatever its log keeps."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.provider import MODEL, USAGE, Provider, providing
from tests.support.servers import FLOWS, JsonObject, Server, crewserve_serve, running

SPENDING = FLOWS / "spending.py"
PRICES = {MODEL: {"prompt": 1.5, "completion": 2}}
A_CALL = (9 * 1.5 + 16 * 2) / 1_000_000
"""What `USAGE` costs, in dollars."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("usage")
    variables = {**provider.variables, "CREWSERVE_PRICES": json.dumps(PRICES)}
    command = crewserve_serve(f"{SPENDING}:Asking", f"{SPENDING}:Weighing")
    with running(command, folder, variables=variables) as server:
        yield server.wait_for_flows()


def usage_of(server: Server, execution: JsonObject) -> JsonObject:
    answer = server.client.get(f"/api/v1/executions/{execution['execution_id']}/usage")
    found: JsonObject = answer.raise_for_status().json()
    assert found["total"] == execution["usage"]
    return found


def calls(number: int, cost: float | None) -> JsonObject:
    """What so many calls of the provider use."""
    return {
        "model_calls": number,
        "tool_calls": 0,
        "prompt_tokens": 9 * number,
        "cached_tokens": 0,
        "completion_tokens": 16 * number,
        "reasoning_tokens": 0,
        "total_tokens": USAGE["total_tokens"] * number,
        "cost_usd": cost if cost is None else pytest.approx(cost),
    }


def test_calls_tokens_and_money_are_told_of_each_step(server: Server) -> None:
    execution = server.run("asking", first=2, second=1)
    assert execution["usage"] == calls(3, 3 * A_CALL)
    [first, second] = usage_of(server, execution)["parts"]
    model = {"agent": None, "model": MODEL}
    assert first == {"step": "begin", **model, **calls(2, 2 * A_CALL)}
    assert second == {"step": "go_on", **model, **calls(1, A_CALL)}
    [listed] = [one for one in server.all() if one["execution_id"] == execution["execution_id"]]
    assert listed["usage"] == execution["usage"]


def test_a_model_without_a_price_makes_the_cost_unknown(server: Server) -> None:
    execution = server.run("asking", first=1, second=1, model="openai/dear-model")
    assert execution["usage"] == calls(2, None)
    parts = usage_of(server, execution)["parts"]
    costs = {part["model"]: part["cost_usd"] for part in parts}
    assert costs == {MODEL: pytest.approx(A_CALL), "openai/dear-model": None}


def test_what_an_earlier_attempt_used_stays_and_a_finished_step_costs_nothing_again(
    server: Server,
) -> None:
    options = {"max_attempts": "2", "retry_on": "flow_error", "backoff_seconds": "0"}
    execution = server.execute("asking", options, first=2, second=1, fails_in="1")
    ended = server.wait_for_end(execution)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    assert ended["usage"] == calls(2 + 1 + 1, 4 * A_CALL)


def test_an_agent_and_its_tools_are_told(server: Server, provider: Provider) -> None:
    function = {"name": "weigh", "arguments": json.dumps({"what": "flour"})}

    def once(body: dict[str, Any]) -> list[dict[str, Any]]:
        has_weighed = any(message["role"] == "tool" for message in body["messages"])
        return [] if has_weighed else [{"id": "c", "type": "function", "function": function}]

    provider.tool_calls = once
    try:
        execution = server.run("weighing")
    finally:
        provider.tool_calls = lambda _: []
    assert execution["status"] == "completed", execution["error"]
    assert execution["usage"] == {**calls(2, 2 * A_CALL), "tool_calls": 1}
    [tools, models] = usage_of(server, execution)["parts"]
    assert (tools["step"], tools["model"], tools["tool_calls"]) == ("work", None, 1)
    assert models == {"step": "work", "agent": "cook", "model": MODEL, **calls(2, 2 * A_CALL)}


def test_an_execution_that_used_nothing_does_not_speak_of_it(server: Server) -> None:
    execution = server.run("asking", first=0, second=0)
    assert "usage" not in execution
    answer = server.client.get(f"/api/v1/executions/{execution['execution_id']}/usage").json()
    assert answer == {"total": calls(0, 0), "parts": []}
