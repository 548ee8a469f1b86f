"""Usage over HTTP."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
import pytest

from crewserve.domain.budget import NO_BUDGET, Budget
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.domain.usage import Usage
from crewserve.http.flow_router import flow_router
from crewserve.ports import Held
from crewserve.testing.builders import a_new_id, a_step, an_execution
from crewserve.testing.usage import a_use
from tests.support.api import Bench, Topic, a_bench, api_of, assert_problem

USAGE = Usage(model_calls=2, prompt_tokens=7, completion_tokens=3, cost=1_500_000)


def spending(bench: Bench, usage: Usage = USAGE, **changes: str) -> Execution:
    """A running execution that has used this."""
    execution = an_execution(Status.RUNNING, flow="topic_flow")
    bench.store._add(execution, [])
    held = Held(execution.id, execution.fence)
    bench.store.append(held, [a_use(usage, **changes)]).result()
    return execution


async def test_bodies_say_what_was_used_but_for_the_specification_s(
    bench: Bench, api: httpx.AsyncClient
) -> None:
    execution, idle = spending(bench), an_execution(flow="topic_flow")
    bench.store._add(idle, [])
    usage = (await api.get(f"/executions/{execution.id}")).json()["usage"]
    assert (usage["total_tokens"], usage["cost_usd"]) == (10, 0.0015)
    assert "usage" not in (await api.get(f"/topic-flow/execution/{execution.id}")).json()
    listed = (await api.get("/executions")).json()["executions"]
    assert ["usage" in one for one in listed] == [False, True]
    assert "usage" not in (await api.get(f"/executions/{idle.id}")).json()
    [bare] = (await api.get("/executions?status=running&fields=error")).json()["executions"]
    assert "usage" not in bare


@pytest.mark.parametrize(("cost", "shown"), [(0, 0), (None, None), (75, 7.5e-08)])
async def test_an_unknown_cost_is_null_and_nothing_is_nothing(
    bench: Bench, api: httpx.AsyncClient, cost: int | None, shown: float | None
) -> None:
    execution = spending(bench, Usage(model_calls=1, cost=cost), agent="", step="")
    answer = (await api.get(f"/executions/{execution.id}/usage")).json()
    [part] = answer["parts"]
    assert part == {"step": None, "agent": None, "model": "a/b", **answer["total"]}
    assert answer["total"]["cost_usd"] == shown


async def test_an_execution_that_there_is_not_has_no_usage(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"/executions/{a_new_id()}/usage")
    assert_problem(answer, HTTPStatus.NOT_FOUND, "execution_not_found")


async def test_a_start_changes_parts_of_the_budget_of_its_flow() -> None:
    policy = Policy(budget=Budget(usd=1, tokens=10))
    bench = a_bench(flow_router("m:BoundFlow", request=Topic, policy=policy))
    async with api_of(bench) as api:
        for query, expected in {
            "": (1.0, 10, None, None),
            "?budget_tokens=0": (1.0, 0, None, None),
            "?budget_usd=0.5&budget_model_calls=3&budget_tool_calls=4": (0.5, 10, 3, 4),
            "?timeout_seconds=5": (1.0, 10, None, None),
        }.items():
            answer = await api.post(f"/bound-flow/execute{query}", json={"topic": "tea"})
            shown = (await api.get(f"/executions/{answer.json()['execution_id']}")).json()
            names = ("usd", "tokens", "model_calls", "tool_calls")
            assert tuple(shown["budget"][name] for name in names) == expected, query


@pytest.mark.parametrize(
    "query", ["budget_usd=-1", "budget_usd=nan", "budget_usd=inf", "budget_tokens=1.5"]
)
async def test_a_budget_that_makes_no_sense_is_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.post(f"/topic-flow/execute?{query}", json={"topic": "tea"})
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Budget(tokens=10)),
        ({"budget": {}}, NO_BUDGET),
        ({"budget": {"tokens": 99}}, Budget(tokens=99)),
    ],
)
@pytest.mark.parametrize("verb", ["retry", "fork"])
async def test_a_retry_has_the_same_budget_unless_it_says_otherwise(
    bench: Bench, api: httpx.AsyncClient, verb: str, body: dict[str, Any], expected: Budget
) -> None:
    policy = Policy(budget=Budget(tokens=10))
    failed = an_execution(Status.FAILED, flow="topic_flow", policy=policy, inputs={"topic": "a"})
    bench.store._add(failed, [a_step()])
    more = {"from_step": 1} if verb == "fork" else {}
    answer = await api.post(f"/executions/{failed.id}/{verb}", json={**body, **more})
    found = await bench.store.get(ExecutionId(UUID(answer.json()["execution_id"])))
    assert found.policy.budget == expected
