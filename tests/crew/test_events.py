"""What is told of CrewAI's events, and of users' own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = [pytest.mark.usefixtures("crewai"), pytest.mark.filterwarnings("ignore")]

KEY = "not-to-be-seen-by-anybody"


@contextmanager
def watching(*, with_content: bool = False) -> Iterator[list[dict[str, Any]]]:
    from crewserve.crew.events import EventWatch
    from crewserve.crew.internals import watched_events

    told: list[dict[str, Any]] = []
    with watched_events(EventWatch(told.append, with_content=with_content).take):
        yield told


def emit(event: Any) -> None:
    from crewai.events import crewai_event_bus

    crewai_event_bus.emit(None, event)


def an_agent() -> Any:
    from crewai import LLM, Agent

    model = LLM(model="openai/gpt-4o-mini", api_key=KEY)
    return Agent(role="poet", goal="rhyme", backstory="old", llm=model)


def an_event(kind: str, **fields: Any) -> Any:
    """Of a class of CrewAI's."""
    import importlib
    import pkgutil

    from crewai.events import types

    for module in pkgutil.iter_modules(types.__path__):
        found = importlib.import_module(f"{types.__name__}.{module.name}")
        if hasattr(found, kind):
            return getattr(found, kind)(**fields)
    raise AssertionError(kind)


def test_objects_are_never_told_and_content_only_on_request() -> None:
    agent = an_agent()
    event = {"agent": agent, "task": None, "tools": [], "task_prompt": "Write!"}
    for with_content, data in ((False, {}), (True, {"task_prompt": "Write!"})):
        with watching(with_content=with_content) as told:
            emit(an_event("AgentExecutionStartedEvent", **event))
        [one] = told
        assert (one["type"], one["channel"]) == ("agent_execution_started", "custom")
        content = {name: one["data"][name] for name in one["data"] if name == "task_prompt"}
        assert content == data
        assert KEY not in json.dumps(told)


def test_a_call_of_a_model_tells_its_usage_and_no_words() -> None:
    with watching() as told:
        emit(
            an_event(
                "LLMCallCompletedEvent",
                call_id="c",
                model="m",
                messages=[{"role": "user", "content": "private"}],
                response="private",
                call_type="llm_call",
                usage={"total_tokens": 25},
            )
        )
    data = told[0]["data"]
    assert (data["usage"], data["call_id"], data["call_type"]) == (
        {"total_tokens": 25},
        "c",
        "llm_call",
    )
    assert "private" not in json.dumps(told)


def test_a_piece_of_text_is_told_as_such_and_one_of_a_tool_s_arguments_not() -> None:
    with watching() as told:
        emit(an_event("LLMStreamChunkEvent", call_id="c", chunk="Once"))
        emit(an_event("LLMStreamChunkEvent", call_id="c", chunk=""))
        call = {"id": "1", "function": {"name": "f", "arguments": "{"}, "type": "f", "index": 0}
        emit(an_event("LLMStreamChunkEvent", call_id="c", chunk="{", tool_call=call))
    assert [(one["call"], one["text"]) for one in told] == [("c", "Once")]


def test_a_user_s_own_event_is_told_without_objects_and_secrets() -> None:
    from crewai.events.base_events import BaseEvent

    class Mine(BaseEvent):
        type: str = "mine"
        done: int = 3
        note: str = "ü"
        api_key: str = KEY
        tool: Any = None

    with watching() as told:
        emit(Mine(tool=an_agent()))
    assert told[0]["data"] == {
        "done": 3,
        "note": "ü",
        "api_key": "[redacted]",
        "tool": "<Agent>",
    }


def test_an_event_that_cannot_be_read_does_not_hurt_the_flow() -> None:
    from crewai.events.base_events import BaseEvent

    class Evil(BaseEvent):
        type: str = "evil"
        words: Any = None

    class Bad(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("no")

    with watching() as told:
        emit(Evil(words=Bad()))
    assert told[0]["data"] == {"error": "unreadable: RuntimeError"}


def test_of_crewai_s_other_events_numbers_names_and_errors_are_told() -> None:
    with watching(with_content=True) as told:
        emit(
            an_event(
                "PlanStepCompletedEvent",
                agent_role="poet",
                step_number=2,
                step_description="private",
                success=False,
                error="boom",
            )
        )
    data = told[0]["data"]
    assert (data["step_number"], data["success"], data["error"]) == (2, False, "boom")
    assert "private" not in json.dumps(told)


def test_what_crewai_tells_of_itself_is_left_out() -> None:
    with watching() as told:
        emit(an_event("DefaultEnvEvent"))
    assert told == []


def test_channels_are_those_of_crewai() -> None:
    from crewai.events.base_events import BaseEvent
    from crewai.utilities.streaming import _stream_channel

    from crewserve.crew.internals import channel_of

    def kinds(kind: type[Any]) -> Iterator[type[Any]]:
        for one in kind.__subclasses__():
            yield one
            yield from kinds(one)

    found = [
        kind for kind in kinds(BaseEvent) if isinstance(kind.model_fields["type"].default, str)
    ]
    assert len(found) > 100
    for kind in found:
        event = kind.model_construct(type=kind.model_fields["type"].default)
        assert channel_of(event) == _stream_channel(event)


def test_every_type_in_the_table_is_one_of_crewai_s() -> None:
    import importlib
    import pkgutil

    import crewai.events.types  # noqa: F401
    from crewai.events import types
    from crewai.events.base_events import BaseEvent

    from crewserve.crew.event_fields import FIELDS, IGNORED

    for module in pkgutil.iter_modules(types.__path__):
        importlib.import_module(f"{types.__name__}.{module.name}")

    def kinds(kind: type[Any]) -> Iterator[type[Any]]:
        for one in kind.__subclasses__():
            yield one
            yield from kinds(one)

    known: dict[str, set[str]] = {}
    for kind in kinds(BaseEvent):
        known.setdefault(str(kind.model_fields["type"].default), set()).update(kind.model_fields)
    assert (FIELDS.keys() | IGNORED) <= known.keys()
    for type_, fields in FIELDS.items():
        assert {*fields.plain, *fields.content} <= known[type_] | SHARED, type_


SHARED = {
    *(
        "tool_class",
        "run_attempts",
        "from_cache",
        "started_at",
        "finished_at",
        "error",
        "tool_args",
    ),
    *("output", "failure", "limit", "query_time_ms", "save_time_ms", "retrieval_time_ms"),
    *("query", "value", "results", "memory_content", "server_name", "transport_type", "tool_name"),
    *("is_reconnect", "connection_duration_ms", "execution_duration_ms", "status_code"),
    *("error_type", "result"),
}
"""Some of the events of a kind have them."""
