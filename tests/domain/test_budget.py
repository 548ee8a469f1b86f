"""What an execution may use at most."""

from typing import Any

import pytest

from crewserve.domain.budget import NO_BUDGET, Budget
from crewserve.domain.policy import DEFAULT, Policy, from_fields, to_fields
from crewserve.domain.usage import NOTHING, Usage

USED = Usage(model_calls=3, tool_calls=2, prompt_tokens=1500, completion_tokens=500, cost=75)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"model_calls": 3}, "may use 3 model calls and has used 3"),
        ({"tokens": 1999}, "may use 1,999 tokens and has used 2,000"),
        ({"usd": 0.00000007}, "may use 0.00000007 dollars and has used 0.000000075"),
        ({"model_calls": 4, "tokens": 2001, "usd": 1}, None),
        ({"tool_calls": 0}, None),
        ({}, None),
    ],
)
def test_a_call_of_a_model_is_refused_when_a_limit_is_reached(
    limits: Any, said: str | None
) -> None:
    refusal = Budget(**limits).refuses_model_call(USED)
    assert refusal == (said and f"The execution {said}")


def test_a_call_of_a_tool_is_refused_only_for_the_calls_of_tools() -> None:
    assert Budget(tool_calls=2).refuses_tool_call(USED) is not None
    assert Budget(tool_calls=3, model_calls=0, usd=0, tokens=0).refuses_tool_call(USED) is None


def test_a_budget_of_nothing_allows_nothing() -> None:
    for limits in ({"model_calls": 0}, {"tokens": 0}, {"usd": 0}):
        assert Budget(**limits).refuses_model_call(NOTHING) is not None


def test_dollars_cannot_be_kept_to_when_the_cost_is_not_known() -> None:
    unknown = Usage(cost=None)
    assert "not known" in str(Budget(usd=100).refuses_model_call(unknown))
    assert Budget(tokens=100).refuses_model_call(unknown) is None


@pytest.mark.parametrize("limit", ["usd", "tokens", "model_calls", "tool_calls"])
def test_a_budget_is_never_negative(limit: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        Budget(**{limit: -1})


@pytest.mark.parametrize("budget", [NO_BUDGET, Budget(usd=0.5), Budget(tokens=0, tool_calls=9)])
def test_a_policy_is_kept_with_its_budget(budget: Budget) -> None:
    policy = Policy(budget=budget)
    assert from_fields(to_fields(policy)) == policy
    assert ("budget" in to_fields(policy)) is (budget != NO_BUDGET)


def test_a_policy_that_was_kept_before_there_were_budgets_has_none() -> None:
    assert from_fields(to_fields(DEFAULT)).budget == NO_BUDGET
