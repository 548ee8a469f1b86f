"""What models cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from crewserve.domain.usage import Usage

_NANO_OF_ONE: Final = 1000
"""A dollar for a million tokens is so many nano-dollars for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    prompt: Decimal
    completion: Decimal
    cached: Decimal | None = None
    """Of a prompt's tokens, those that the provider had kept; None: the same as others."""

    def cost(self, usage: Usage) -> int:
        """Of the tokens of *usage*, in nano-dollars."""
        cached_price = self.prompt if self.cached is None else self.cached
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        dollars = (
            (usage.prompt_tokens - cached) * self.prompt
            + cached * cached_price
            + usage.completion_tokens * self.completion
        )
        return round(dollars * _NANO_OF_ONE)


Prices = Mapping[str, Price]
"""By the model's name, with or without its provider."""

FREE: Final = Price(prompt=Decimal(0), completion=Decimal(0))


def price_of(model: str, prices: Prices) -> Price | None:
    """Of ``provider/name``, or else of ``name`` from whomever; None when it is not known."""
    while model not in prices:
        _, slash, model = model.partition("/")
        if not slash:
            return None
    return prices[model]
