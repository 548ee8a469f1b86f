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


GROUPED = {"flow_name", "day", "model", "agent", "executions"}


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


async def test_lists_can_be_in_the_order_of_costs(bench: Bench, api: httpx.AsyncClient) -> None:
    costs = [5, None, 7_000_000_000, 5, 0]
    ids = [str(spending(bench, Usage(cost=cost)).id) for cost in costs]
    bench.store._add(an_execution(flow="topic_flow"), [])
    for order, expected in (("costliest_first", [2, 3, 0, 4]), ("cheapest_first", [4, 0, 3, 2])):
        url, seen = f"http://test/api/v1/executions?limit=1&order={order}", []
        while url:
            answer = await api.get(url)
            seen += [one["execution_id"] for one in answer.json()["executions"]]
            url = answer.links.get("next", {}).get("url", "")
        assert seen == [ids[number] for number in expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("min_cost=0.0000000051", [2]),
        ("max_cost=0.000000005", [1, 0]),
        ("model=a/b", [2, 1, 0]),
        ("model=c/d", []),
        ("min_cost=0&max_cost=7", [2, 1, 0]),
    ],
)
async def test_lists_are_narrowed_down_by_cost_and_model(
    bench: Bench, api: httpx.AsyncClient, query: str, expected: list[int]
) -> None:
    ids = [str(spending(bench, Usage(cost=cost)).id) for cost in (5, 0, 7_000_000_000)]
    bench.store._add(an_execution(flow="topic_flow"), [])
    found = (await api.get(f"/executions?{query}")).json()["executions"]
    assert [one["execution_id"] for one in found] == [ids[number] for number in expected]


@pytest.mark.parametrize("query", ["min_cost=-1", "max_cost=NaN", "min_cost=1e7", "order=cost"])
async def test_a_cost_that_makes_no_sense_is_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/executions?{query}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")


@pytest.mark.parametrize("order", ["newest_first", "costliest_first", "cheapest_first"])
async def test_any_cursor_of_the_right_form_is_a_place_in_any_order(
    api: httpx.AsyncClient, order: str
) -> None:
    answer = await api.get(f"/executions?order={order}&cursor={'_' * 32}")
    assert answer.status_code == HTTPStatus.OK


async def test_usage_is_reported_by_what_is_asked_for(bench: Bench, api: httpx.AsyncClient) -> None:
    spending(bench)
    spending(bench, Usage(tool_calls=1), model="", agent="")
    answer = (await api.get("/usage?group_by=day,flow_name,model,agent,day")).json()
    assert (answer["total"]["executions"], answer["total"]["cost_usd"]) == (2, 0.0015)
    assert answer["is_whole"] is True
    alike = {"flow_name": "topic_flow", "day": "2026-01-01", "executions": 1}
    assert [{name: one[name] for name in one if name in GROUPED} for one in answer["groups"]] == [
        {**alike, "model": "a/b", "agent": "poet"},
        alike,
    ]
    assert (await api.get("/usage?model=c/d")).json()["groups"] == []


async def test_a_report_has_a_thousand_groups_at_most(bench: Bench, api: httpx.AsyncClient) -> None:
    for number in range(1001):
        spending(bench, Usage(cost=number), model=f"a/{number}")
    answer = (await api.get("/usage?group_by=model")).json()
    assert (len(answer["groups"]), answer["is_whole"]) == (1000, False)
    assert answer["groups"][0]["model"] == "a/1000"
    assert answer["total"]["executions"] == 1001


@pytest.mark.parametrize("query", ["group_by=step", "group_by=day,", "sort=cost"])
async def test_a_report_that_there_is_not_is_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/usage?{query}")
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")
