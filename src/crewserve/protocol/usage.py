"""What was used, on the wire."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.budget import Budget
from crewserve.domain.usage import NANO, NOTHING, Spent, Usage, UsageGroup, UsageGrouping

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


def _is_none(value: object) -> bool:
    return value is None


class SpentBody(UsageBody):
    """What one agent used of one model in one step."""

    step: str | None = Field(description="`method`, or `method#2` in its second call.")
    agent: str | None = Field(description="Its role; null for calls that no agent made.")
    model: str | None = Field(description="`provider/name`; null for calls of tools.")


class ExecutionUsage(BaseModel):
    """What one execution used, of all its attempts."""

    total: UsageBody
    parts: list[SpentBody] = Field(description="By step, agent and model; a thousand at most.")


class UsageGroupBody(UsageBody):
    """What executions that are alike in what they were grouped by used together."""

    flow_name: str | None = Field(None, exclude_if=_is_none)
    day: str | None = Field(
        None, exclude_if=_is_none, description="On which they were created, in UTC."
    )
    model: str | None = Field(
        None, exclude_if=_is_none, description="`provider/name`; absent for calls of tools."
    )
    agent: str | None = Field(
        None, exclude_if=_is_none, description="Absent for calls that no agent made."
    )
    executions: int = Field(description="That used something of it.")


class UsageReport(BaseModel):
    """What many executions used."""

    total: UsageGroupBody = Field(description="Of all that was found.")
    groups: list[UsageGroupBody] = Field(
        description="The newest day first, then unknown costs, then the highest; 1000 at most."
    )
    is_whole: bool = Field(description="Whether these are all groups.")


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


def usage_report(
    total: UsageGroup, groups: Sequence[UsageGroup], by: Sequence[UsageGrouping], limit: int
) -> UsageReport:
    """The first *limit* of *groups* on the wire."""
    return UsageReport(
        total=_group(total, ()),
        groups=[_group(one, by) for one in groups[:limit]],
        is_whole=len(groups) <= limit,
    )


def _group(group: UsageGroup, by: Sequence[UsageGrouping]) -> UsageGroupBody:
    named = {one.value: value or None for one, value in zip(by, group.of, strict=True)}
    return UsageGroupBody(**named, executions=group.executions, **usage_fields(group.usage))
