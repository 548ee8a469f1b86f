"""What happened and was not sent yet."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from crewserve.crew import wire
from crewserve.crew.environment import secrets
from crewserve.crew.wire import Message
from crewserve.domain.redaction import redact_all

FULL: Final = 1000
"""Events; a flow that tells more before they are sent waits until they are."""


class Outbox:
    """Any thread may add; whoever takes must be alone."""

    def __init__(self) -> None:
        self._noted: deque[Message] = deque()

    @property
    def is_full(self) -> bool:
        return len(self._noted) >= FULL

    def add(self, event: Message) -> None:
        """Behind what was added before."""
        self._noted.append(event)

    def take(self) -> bytes:
        """All of it as one line, without any secret; nothing at all when it is empty."""
        if not self._noted:
            return b""
        taken = [self._noted.popleft() for _ in range(len(self._noted))]
        return wire.encode({"events": redact_all(list(_joined(taken)), secrets())})


def _joined(events: Iterable[Message]) -> Iterable[Message]:
    """Pieces of one text that follow each other become one."""
    last: Message | None = None
    for event in events:
        if last is not None and "text" in event and _is_of(event, last):
            last["text"] += event["text"]
            continue
        if last is not None:
            yield last
        last = event
    if last is not None:
        yield last


def _is_of(event: Message, other: Message) -> bool:
    return (event["type"], event["call"]) == (other.get("type"), other.get("call"))
