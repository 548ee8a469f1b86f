"""What an execution may use at most."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from crewserve.domain.usage import NANO, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits for all attempts together; what is None is not limited.

    Raises ValueError when one is negative.
    """

    usd: float | None = None
    tokens: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None

    def __post_init__(self) -> None:
        limits = (self.usd, self.tokens, self.model_calls, self.tool_calls)
        if any(limit is not None and limit < 0 for limit in limits):
            raise ValueError("A budget is never negative")

    def refuses_model_call(self, used: Usage) -> str | None:
        """Why there is no room for another one when this much was *used*; None: there is."""
        if self.usd is not None and used.cost is None:
            return (
                "What the execution has cost so far is not known, so it cannot be kept to dollars"
            )
        return (
            _used_up(self.model_calls, used.model_calls, "model calls")
            or _used_up(self.tokens, used.total_tokens, "tokens")
            or _used_up(self.usd, (used.cost or 0) / NANO, "dollars")
        )

    def refuses_tool_call(self, used: Usage) -> str | None:
        """The same for a call of a tool."""
        return _used_up(self.tool_calls, used.tool_calls, "tool calls")


NO_BUDGET: Final = Budget()


def to_fields(budget: Budget) -> Mapping[str, Any]:
    """As JSON data, without what is not limited."""
    return {name: limit for name, limit in asdict(budget).items() if limit is not None}


def _used_up(limit: float | None, used: float, what: str) -> str | None:
    if limit is None or used < limit:
        return None
    return f"The execution may use {_spelt(limit)} {what} and has used {_spelt(used)}"


def _spelt(number: float) -> str:
    return f"{number:,.9f}".rstrip("0").rstrip(".")
