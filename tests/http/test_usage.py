"""Usage over HTTP."""

from http import HTTPStatus

import httpx
import pytest

from crewserve.domain.execution import Execution
from crewserve.domain.status import Status
from crewserve.domain.usage import Usage
from crewserve.ports import Held
from crewserve.testing.builders import a_new_id, an_execution
from crewserve.testing.usage import a_use
from tests.support.api import Bench, assert_problem

USAGE = Usage(model_calls=2, prompt_tokens=7, completion_tokens=3, cost=1_500_000)


def spending(bench: Bench, usage: Usage = USAGE, **changes: str) -> Execution:
    """A running execution that has used this."""
    execution = an_execution(Status.RUNNING, flow="topic_flow")
    bench.store._add(execution, [])
    held = Held(execution.id, execution.fence)
    bench.store.append(held, [a_use(usage, **changes)]).result()
    return execution


async def test_every_body_says_what_was_used(bench: Bench, api: httpx.AsyncClient) -> None:
    execution, idle = spending(bench), an_execution(flow="topic_flow")
    bench.store._add(idle, [])
    for path in (f"/executions/{execution.id}", f"/topic-flow/execution/{execution.id}"):
        usage = (await api.get(path)).json()["usage"]
        assert (usage["total_tokens"], usage["cost_usd"]) == (10, 0.0015)
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
