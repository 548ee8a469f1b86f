"""What an execution used and cost can be seen and bounded, whatever its log keeps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
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
    flows = [f"{SPENDING}:{name}" for name in ("Asking", "Weighing", "Threaded", "Stubborn")]
    command = crewserve_serve(*flows)
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


@pytest.fixture
def weighing(provider: Provider) -> Iterator[None]:
    """The model asks for a tool once."""
    function = {"name": "weigh", "arguments": json.dumps({"what": "flour"})}

    def once(body: dict[str, Any]) -> list[dict[str, Any]]:
        has_weighed = any(message["role"] == "tool" for message in body["messages"])
        return [] if has_weighed else [{"id": "c", "type": "function", "function": function}]

    provider.tool_calls = once
    yield
    provider.tool_calls = lambda _: []


@pytest.mark.usefixtures("weighing")
def test_an_agent_and_its_tools_are_told(server: Server) -> None:
    execution = server.run("weighing")
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


@dataclass(frozen=True)
class Exceeded:
    """An execution whose budget was used up."""

    id: str
    error: str
    step: str | None
    requests: int
    """That the provider got."""
    used: JsonObject


def exceed(
    server: Server, provider: Provider, path: str, budget: JsonObject, **inputs: Any
) -> Exceeded:
    before = len(provider.requests)
    options = {name: str(limit) for name, limit in budget.items()}
    ended = server.wait_for_end(server.execute(path, options, **inputs))
    assert (ended["status"], ended["error_details"]["code"]) == ("failed", "budget_exceeded")
    step, used = ended["error_details"]["step"], ended.get("usage", calls(0, 0))
    requests = len(provider.requests) - before
    return Exceeded(ended["execution_id"], ended["error"], step, requests, used)


@pytest.mark.parametrize(
    ("budget", "made", "said"),
    [
        ({"budget_model_calls": 4}, 4, "may use 4 model calls and has used 4"),
        ({"budget_tokens": 60}, 3, "may use 60 tokens and has used 75"),
        ({"budget_usd": 2.5 * A_CALL}, 3, "dollars and has used 0.0001365"),
        ({"budget_usd": 1, "budget_tokens": 25}, 1, "may use 25 tokens"),
        ({"budget_model_calls": 0}, 0, "may use 0 model calls"),
    ],
)
def test_no_call_is_made_that_the_budget_has_no_room_for(
    server: Server, provider: Provider, budget: JsonObject, made: int, said: str
) -> None:
    found = exceed(server, provider, "asking", budget, first=2, second=9)
    assert said in found.error
    assert (found.requests, found.used) == (made, calls(made, made * A_CALL))
    assert found.step == ("go_on" if made > 1 else "begin")


def test_a_retry_with_a_larger_budget_goes_on_from_the_finished_steps(
    server: Server, provider: Provider
) -> None:
    found = exceed(server, provider, "asking", {"budget_model_calls": 3}, first=2, second=2)
    url = f"/api/v1/executions/{found.id}"
    [step] = server.client.get(f"{url}/steps").json()["steps"]
    state = server.client.get(f"{url}/steps/{step['position']}").json()["state"]
    assert (step["name"], state["done"]) == ("begin", 2)
    answer = server.client.post(f"{url}/retry", json={"budget": {"model_calls": 2}})
    retried = server.wait_for_end(answer.raise_for_status().json()["execution_id"])
    assert (retried["status"], retried["result"]) == ("completed", 2)
    assert retried["usage"] == calls(2, 2 * A_CALL)
    assert retried["budget"] == {
        "usd": None,
        "tokens": None,
        "model_calls": 2,
        "tool_calls": None,
    }


def test_a_budget_counts_what_earlier_attempts_used(server: Server, provider: Provider) -> None:
    retry = {"max_attempts": 9, "retry_on": "flow_error", "backoff_seconds": 0}
    budget = {"budget_model_calls": 3, **retry}
    inputs = {"first": 2, "second": 1, "fails_in": "1"}
    found = exceed(server, provider, "asking", budget, **inputs)
    assert (found.requests, server.get(found.id)["attempt"]) == (3, 2)


def test_a_model_without_a_price_is_not_asked_where_dollars_are_counted(
    server: Server, provider: Provider
) -> None:
    inputs = {"first": 1, "second": 1, "model": "openai/dear-model"}
    found = exceed(server, provider, "asking", {"budget_usd": 100}, **inputs)
    assert "openai/dear-model has no price" in found.error
    assert found.requests == 1


@pytest.mark.usefixtures("weighing")
def test_tools_have_a_budget_too(server: Server, provider: Provider) -> None:
    found = exceed(server, provider, "weighing", {"budget_tool_calls": 0})
    assert "may use 0 tool calls" in found.error
    assert found.used["tool_calls"] == 0


def test_a_thread_without_context_has_the_same_budget(server: Server, provider: Provider) -> None:
    found = exceed(server, provider, "threaded", {"budget_model_calls": 2}, first=9)
    assert (found.requests, found.used["model_calls"]) == (2, 2)


def test_code_that_goes_on_whatever_happens_is_killed(server: Server, provider: Provider) -> None:
    found = exceed(server, provider, "stubborn", {"budget_model_calls": 2})
    assert (found.requests, found.used["model_calls"]) == (2, 2)
