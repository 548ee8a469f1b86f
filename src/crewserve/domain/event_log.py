"""What happens in an execution, in order."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from crewserve.domain.usage import NOTHING, Spender, Usage, Use


class Channel(StrEnum):
    """What an entry is about, as CrewAI's own streams divide it. Stored and served."""

    LIFECYCLE = "lifecycle"
    """The execution itself, and whatever failed in it."""
    FLOW = "flow"
    """The flow and its methods."""
    LLM = "llm"
    """Calls of language models."""
    TOOLS = "tools"
    MESSAGES = "messages"
    """Of a conversation."""
    CUSTOM = "custom"
    """Crews, tasks, agents, memory and knowledge, and the events of users' own classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened."""

    sequence: int = 0
    """From 1, in order and without a gap; given by the log, 0 before."""
    type: str
    """As CrewAI names it."""
    channel: Channel
    at: datetime
    step: str | None = None
    """``method``, or ``method#2`` in its second call."""
    id: str | None = None
    """CrewAI's; none for what the server itself tells."""
    parent: str | None = None
    """The id of what it happened in."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON data."""
    used: Use | None = None
    """The log adds it up, and does not keep it here."""


def spent(entries: Iterable[Entry]) -> Mapping[Spender, Usage]:
    """What they used together."""
    found: dict[Spender, Usage] = defaultdict(lambda: NOTHING)
    for entry in entries:
        if entry.used is not None:
            found[Spender(entry.step or "", entry.used.agent, entry.used.model)] += entry.used.usage
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a text that a model is writing. The log keeps the text as one entry."""

    type: str
    at: datetime
    step: str | None
    parent: str | None
    call: str
    """Which call of a model."""
    text: str


TEXTS: Final = frozenset({"llm_stream_chunk", "llm_thinking_chunk"})
"""Types of chunks, and of the entries that keep what they were together."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; empty does not filter."""

    channels: Collection[Channel] = ()
    types: Collection[str] = ()

    def includes(self, entry: Entry) -> bool:
        """Whether *entry* is one of them."""
        in_channel = not self.channels or entry.channel in self.channels
        return in_channel and (not self.types or entry.type in self.types)


ALL: Final = Wanted()
