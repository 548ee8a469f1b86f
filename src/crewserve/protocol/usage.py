"""What was used, on the wire."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.budget import Budget
from crewserve.domain.usage import NANO, NOTHING, Spent, Usage

MAX_DOLLARS: Final = 1_000_000
MAX_COUNT: Final = 2**53


class BudgetBody(BaseModel):
    """What all attempts of an execution together may use; what is absent is not limited."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    usd: float | None = Field(None, ge=0, le=MAX_DOLLARS)
    tokens: int | None = Field(None, ge=0, le=MAX_COUNT)
    model_calls: int | None = Field(None, ge=0, le=MAX_COUNT)
    tool_calls: int | None = Field(None, ge=0, le=MAX_COUNT)

    def budget(self) -> Budget:
        """The same."""
        return Budget(**self.model_dump())


class UsageBody(BaseModel):
    """Calls, tokens and money."""

    model_calls: int = Field(description="Requests to models, also those that failed.")
    tool_calls: int
    prompt_tokens: int
    cached_tokens: int = Field(description="Of the prompts', those the provider had kept.")
    completion_tokens: int
    reasoning_tokens: int = Field(description="Of the completions'.")
    total_tokens: int
    cost_usd: float | None = Field(description="Null when the price of a part is not known.")


class SpentBody(UsageBody):
    """What one agent used of one model in one step."""

    step: str | None = Field(description="`method`, or `method#2` in its second call.")
    agent: str | None = Field(description="Its role; null for calls that no agent made.")
    model: str | None = Field(description="`provider/name`; null for calls of tools.")


class ExecutionUsage(BaseModel):
    """What one execution used, of all its attempts."""

    total: UsageBody
    parts: list[SpentBody] = Field(description="By step, agent and model; a thousand at most.")


def usage_fields(usage: Usage) -> Mapping[str, Any]:
    """The fields of `UsageBody`."""
    return {
        "model_calls": usage.model_calls,
        "tool_calls": usage.tool_calls,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
        "cost_usd": None if usage.cost is None else usage.cost / NANO,
    }


def execution_usage(total: Usage | None, parts: Sequence[Spent]) -> ExecutionUsage:
    """*total* on the wire, and what it is made of."""
    named = [
        {**{name: value or None for name, value in by._asdict().items()}, **usage_fields(usage)}
        for by, usage in parts
    ]
    return ExecutionUsage(
        total=UsageBody(**usage_fields(total or NOTHING)),
        parts=[SpentBody(**one) for one in named],
    )
