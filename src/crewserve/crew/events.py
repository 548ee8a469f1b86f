"""Telling the host what happens in a flow.

CrewAI hands every event to `internals.watch_events`, in order and in the thread that emits it, so
here it is only copied; sending is the link's business.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from crewai.events.base_events import BaseEvent

from crewserve.crew.bounding import Bounded
from crewserve.crew.event_fields import COMMON, FIELDS, IGNORED, NAMES, NUMBERS, Fields
from crewserve.crew.internals import channel_of
from crewserve.crew.uses import use_of
from crewserve.crew.wire import Message
from crewserve.domain.event_log import TEXTS

STEP: Final[ContextVar[str | None]] = ContextVar("crewserve_step", default=None)
"""The step that runs in this context, as `domain.event_log.Entry` calls it."""

RUNNING: Final[list[str]] = []
"""All steps that run in this process now."""

ENDS_OF_STEPS: Final[list[Callable[[], None]]] = []
"""Called when one of them ends, before it leaves."""


@contextmanager
def within_step(name: str) -> Iterator[None]:
    """What happens meanwhile, happens in that step."""
    token = STEP.set(name)
    RUNNING.append(name)
    try:
        yield
    finally:
        for finish in ENDS_OF_STEPS:
            finish()
        RUNNING.remove(name)
        STEP.reset(token)


def current_step() -> str | None:
    """Of this context; in a thread without one, the only step that runs."""
    return STEP.get() or only_step()


def only_step() -> str | None:
    """None when none runs, or several do."""
    return RUNNING[0] if len(RUNNING) == 1 else None


Note = Callable[[Message], None]
"""Takes one event, at once."""


class EventWatch:
    """A sink for CrewAI's events."""

    def __init__(self, note: Note, *, with_content: bool) -> None:
        self._note = note
        self._with_content = with_content

    def take(self, source: object, event: Any) -> None:
        """Whatever it is, and whatever is in it: a flow must not fail because it is watched."""
        if event.type in IGNORED:
            return
        try:
            told = self._chunk(event) if event.type in TEXTS else self._entry(source, event)
        except Exception as error:  # noqa: BLE001  # properties of users' classes may raise
            told = {"channel": "custom", "data": {"error": f"unreadable: {type(error).__name__}"}}
        if told is not None:
            self._note({**_head(event), **told})

    def _chunk(self, event: Any) -> Message | None:
        """Pieces of a tool's arguments are no text; the call of the tool is told."""
        if getattr(event, "tool_call", None) is not None or not event.chunk:
            return None
        return {"call": event.call_id, "text": event.chunk}

    def _entry(self, source: object, event: Any) -> Message:
        kind: type[BaseEvent] = type(event)
        fields, bounded = _fields_of(kind, event.type), Bounded()
        data = dict(_told(event, (*fields.plain, *COMMON.plain), bounded.field))
        if self._with_content:
            data |= _told(event, (*fields.content, *COMMON.content), _content(bounded))
        used = use_of(source, event)
        return {"channel": channel_of(event), "data": data, **({"used": used} if used else {})}


def _head(event: Any) -> Message:
    return {
        "type": event.type,
        "at": event.timestamp.timestamp(),
        "step": STEP.get(),
        "id": event.event_id,
        "parent": event.parent_event_id,
    }


def _told(
    event: Any, names: Iterable[str], copy: Callable[[str, Any], Any]
) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = getattr(event, name, None)
        if value is not None:
            yield name, copy(name, value)


def _content(bounded: Bounded) -> Callable[[str, Any], Any]:
    """An output is told as what it says, not as what it is."""

    def copy(_: str, value: Any) -> Any:
        if isinstance(value, str | list | dict):
            return bounded.copy(value)
        return bounded.text(str(value))

    return copy


@lru_cache(1024)
def _fields_of(kind: type[BaseEvent], type_: str) -> Fields:
    known = FIELDS.get(type_)
    if known is not None:
        return known
    own = kind.model_fields.keys() - BaseEvent.model_fields.keys()
    if not kind.__module__.startswith("crewai."):
        return Fields(tuple(sorted(own)))
    plain = sorted(
        name
        for name in own
        if name.endswith(NAMES) or kind.model_fields[name].annotation in NUMBERS
    )
    return Fields(tuple(plain))
