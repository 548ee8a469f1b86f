"""What an event of CrewAI says was used."""

from collections.abc import Mapping
from typing import Any, Final

from crewai.types.usage_metrics import UsageMetrics

from crewserve.crew.wire import Message

MAX_NAME: Final = 200
"""Characters of an agent's role and of a model's name, as far as they are counted by."""

MAX_TOKENS: Final = 2**31
"""Of one call. More is no number that a provider would tell."""

MODEL_CALL: Final = "llm_call_started"
TOOL_CALL: Final = "tool_usage_started"

_CALLS: Final = {MODEL_CALL: "model_calls", TOOL_CALL: "tool_calls"}
"""Counted when they begin: those that fail or are cut off were made as well."""


def use_of(source: Any, event: Any) -> Message | None:
    """``agent``, ``model``, what is counted, and with ``untold`` that tokens are not known."""
    if event.type in _CALLS:
        used: Message = {_CALLS[event.type]: 1}
    elif event.type == "llm_call_completed":
        used = _tokens(event.usage)
    else:
        return None
    return {"agent": _name(event.agent_role), "model": _name(model_of(source, event)), **used}


def model_of(source: Any, event: Any) -> str:
    """``provider/name``, as CrewAI itself writes it; empty for what is no model's."""
    model, provider = getattr(event, "model", None), getattr(source, "provider", None)
    if not isinstance(model, str):
        return ""
    is_whole = "/" in model or not isinstance(provider, str) or not provider
    return model if is_whole else f"{provider}/{model}"


def _tokens(usage: Mapping[str, Any] | None) -> Message:
    """Providers name them in different ways. Those that say nothing have used something."""
    told = UsageMetrics.from_provider_dict(dict(usage)) if usage else None
    if told is None or not told.total_tokens:
        return {"untold": True}
    return {
        "prompt_tokens": _number(told.prompt_tokens),
        "cached_tokens": _number(told.cached_prompt_tokens),
        "completion_tokens": _number(told.completion_tokens),
        "reasoning_tokens": _number(told.reasoning_tokens),
    }


def _number(tokens: int) -> int:
    return min(max(tokens, 0), MAX_TOKENS)


def _name(text: str | None) -> str:
    """As every database holds it."""
    text = (text or "")[:MAX_NAME]
    return text.encode(errors="replace").decode().replace("\0", "")
