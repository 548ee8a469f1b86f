"""What models cost, to the nano-dollar."""

from decimal import Decimal

import pytest

from crewserve.domain.event_log import spent
from crewserve.domain.pricing import FREE, Price, price_of
from crewserve.domain.usage import NOTHING, Spender, Usage, Use
from crewserve.testing.builders import an_entry

MINI = Price(prompt=Decimal("0.15"), cached=Decimal("0.075"), completion=Decimal("0.6"))


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=100, reasoning_tokens=90)
    assert MINI.cost(usage) == 600 * 150 + 400 * 75 + 100 * 600


def test_tokens_that_the_provider_kept_cost_what_others_do_unless_it_is_said() -> None:
    price = Price(prompt=Decimal(2), completion=Decimal(3))
    assert price.cost(Usage(prompt_tokens=10, cached_tokens=4)) == 10 * 2000


def test_a_million_tokens_cost_exactly_their_price() -> None:
    price = Price(prompt=Decimal("0.0001"), completion=Decimal("0.0003"))
    assert price.cost(Usage(prompt_tokens=1_000_000)) == 100_000
    assert price.cost(Usage(completion_tokens=1)) == 0


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("openai/gpt-4o", MINI),
        ("gpt-4o", None),
        ("llama", FREE),
        ("groq/llama", FREE),
        ("openrouter/meta/llama", FREE),
        ("openai/gpt-4o-mini", None),
        ("", None),
    ],
)
def test_a_price_is_found_with_or_without_the_provider(model: str, found: Price | None) -> None:
    assert price_of(model, {"openai/gpt-4o": MINI, "llama": FREE}) == found


def test_a_cost_is_not_known_as_soon_as_one_of_its_parts_is_not() -> None:
    known, unknown = Usage(cost=5), Usage(model_calls=1, cost=None)
    assert (known + known).cost == 10
    assert (known + unknown).cost is (unknown + known).cost is None
    assert NOTHING + known == known


def test_entries_are_added_up_by_step_agent_and_model() -> None:
    one = Use("poet", "a/b", Usage(model_calls=1))
    entries = [an_entry(step="s", used=one), an_entry(used=one), an_entry(step="s", used=one)]
    assert spent([*entries, an_entry()]) == {
        Spender("s", "poet", "a/b"): Usage(model_calls=2),
        Spender("", "poet", "a/b"): Usage(model_calls=1),
    }
