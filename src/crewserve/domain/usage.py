"""What executions use: calls, tokens and money."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

NANO: Final = 1_000_000_000
"""Money is counted in whole nano-dollars: a token may cost less than a millionth of a dollar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """An amount; two are added with ``+``."""

    model_calls: int = 0
    """Requests to models, also those that failed."""
    tool_calls: int = 0
    prompt_tokens: int = 0
    """With those that the provider had kept."""
    cached_tokens: int = 0
    """Of the prompts', those that the provider had kept."""
    completion_tokens: int = 0
    """With those of reasoning."""
    reasoning_tokens: int = 0
    cost: int | None = 0
    """In nano-dollars; None as soon as the price of a part is not known."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        known = self.cost is not None and other.cost is not None
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            tool_calls=self.tool_calls + other.tool_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=(self.cost or 0) + (other.cost or 0) if known else None,
        )


NOTHING: Final = Usage()


class Spender(NamedTuple):
    """Who used it. What is empty had no part in it."""

    step: str
    """As `Entry.step`."""
    agent: str
    """Its role."""
    model: str
    """``provider/name``."""


class Spent(NamedTuple):
    """What one spender used in one execution."""

    by: Spender
    usage: Usage


class Use(NamedTuple):
    """What one thing that happened used."""

    agent: str
    model: str
    usage: Usage


class UsageGrouping(StrEnum):
    """What it can be added up by; named as on the wire."""

    FLOW = "flow_name"
    DAY = "day"
    """On which the execution was created, in UTC."""
    MODEL = "model"
    AGENT = "agent"


class UsageGroup(NamedTuple):
    """What executions that are alike used together."""

    of: tuple[str, ...]
    """Their values, in the order of the groupings that were asked for; a day as ISO 8601."""
    executions: int
    """That used something of it."""
    usage: Usage
