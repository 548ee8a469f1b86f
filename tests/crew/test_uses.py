"""What is counted of CrewAI's events."""

from decimal import Decimal
from typing import Any

import pytest

from crewserve.crew.used import to_use
from crewserve.domain.pricing import Price
from crewserve.domain.usage import Usage, Use
from tests.crew.test_events import an_event, emit, watching

pytestmark = [pytest.mark.usefixtures("crewai"), pytest.mark.filterwarnings("ignore")]

PRICES = {"mini": Price(prompt=Decimal(1), completion=Decimal(2))}


def completed(usage: Any, model: str = "openai/mini") -> Use:
    """What is counted of a call with this usage."""
    fields = {"model": model, "call_id": "1", "call_type": "llm_call", "response": "secret"}
    with watching() as told:
        emit(an_event("LLMCallCompletedEvent", usage=usage, agent_role="poet", **fields))
    return to_use(told[0]["used"], PRICES)


@pytest.mark.parametrize(
    "usage",
    [
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
        {"prompt_token_count": 10, "completion_tokens": 5, "cached_prompt_tokens": 4},
        {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5},
    ],
)
def test_tokens_are_read_as_each_provider_tells_them(usage: Any) -> None:
    tokens = {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 5}
    expected = Usage(**tokens, cost=20_000)
    assert completed(usage) == Use("poet", "openai/mini", expected)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 0}])
def test_a_provider_that_tells_no_tokens_has_not_worked_for_nothing(usage: Any) -> None:
    assert completed(usage).usage == Usage(cost=None)


def test_a_model_without_a_price_has_no_cost() -> None:
    usage = completed({"prompt_tokens": 10, "completion_tokens": 5}, "openai/maxi").usage
    assert usage == Usage(prompt_tokens=10, completion_tokens=5, cost=None)


def test_numbers_that_no_provider_tells_are_bounded() -> None:
    usage = completed({"prompt_tokens": 10**30, "completion_tokens": -5}).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (2**31, 0)


def test_a_call_is_counted_when_it_begins_with_the_provider_of_its_model() -> None:
    from crewai import LLM
    from crewai.events import crewai_event_bus

    call, role = {"model": "gpt-4o-mini", "call_id": "1"}, "po\0et\ud800"
    event = an_event("LLMCallStartedEvent", agent_role=role, **call)
    with watching() as told:
        crewai_event_bus.emit(LLM(model="openai/gpt-4o-mini", api_key="none-at-all"), event)
        emit(an_event("ToolUsageStartedEvent", tool_name="t", tool_args={}, agent_role="cook"))
        emit(an_event("LLMCallFailedEvent", model="mini", call_id="1", error="e"))
    assert [to_use(one["used"], PRICES) for one in told[:2]] == [
        Use("poet?", "openai/gpt-4o-mini", Usage(model_calls=1)),
        Use("cook", "", Usage(tool_calls=1)),
    ]
    assert "used" not in told[2]
