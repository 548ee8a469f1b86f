"""Every place where we touch what CrewAI does not promise. Checked against 1.15.

``tests/crew/test_internals.py`` fails loudly when a new version moves one of them.
"""

import importlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from crewai.events import event_bus
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.flow_events import ConversationMessageAddedEvent, FlowEvent
from crewai.events.types.llm_events import LLMEventBase
from crewai.events.types.tool_usage_events import ToolExecutionErrorEvent, ToolUsageEvent
from crewai.flow.flow import Flow
from crewai.flow.human_feedback import HumanFeedbackResult
from crewai.flow.runtime import FlowState
from crewai.flow.types import FlowMethodName
from crewai.task import Task
from pydantic import BaseModel

FlowClass = type[Flow[Any]]

AFTER_IMPORT: Final = ("MainThread", "LanceDB")
"""Names of threads in a process that only imported CrewAI; LanceDB's survives a fork."""

AFTER_RUN: Final = (
    *AFTER_IMPORT,
    "CrewAI",
    "asyncio",
    "ThreadPoolExecutor",
    "Thread-",
    "crewserve",
)
"""Names of threads in a process that ran a flow."""


def strange_threads(known: tuple[str, ...]) -> list[str]:
    """Threads of this process that are none of *known*."""
    return [thread.name for thread in threading.enumerate() if not thread.name.startswith(known)]


def bus_was_used() -> bool:
    """Whether an event was emitted in this process; its forks would hang for ever."""
    return bool(crewai_event_bus._executor_initialized)  # noqa: SLF001  # no public way to know


def state_model(flow: FlowClass) -> type[BaseModel] | None:
    """The Pydantic class of the flow's state; None for dict state.

    ``Flow[Model]`` keeps it in ``_initial_state_t``, a class may name it as ``initial_state``
    (crewai/flow/runtime/__init__.py, ``_create_initial_state``).
    """
    for found in (_initial_state(flow), getattr(flow, "_initial_state_t", None)):
        if isinstance(found, BaseModel):
            return type(found)
        if inspect.isclass(found) and issubclass(found, BaseModel):
            return _models.get(found, found)
        if found is not None and not isinstance(found, TypeVar):
            return None
    return None


def premake_state(flow: FlowClass) -> None:
    """Make the class of the flow's state once, which CrewAI makes anew for every flow object.

    It is the flow's model with an ``id``, as ``_create_initial_state`` builds it.
    """
    model = getattr(flow, "_initial_state_t", None)
    if inspect.isclass(model) and issubclass(model, BaseModel) and not issubclass(model, FlowState):
        with_id = type("StateWithId", (FlowState, model), {"__module__": model.__module__})
        setattr(flow, "_initial_state_t", with_id)  # noqa: B010  # no checker knows it
        _models[with_id] = model


def state_class(flow: FlowClass) -> type[BaseModel] | None:
    """The class that the flow's state will have: with an ``id``, if that was made before."""
    made = getattr(flow, "_initial_state_t", None)
    return made if made in _models else state_model(flow)


_models: dict[type[BaseModel], type[BaseModel]] = {}
"""The flow's own model of each premade class."""


def _initial_state(flow: FlowClass) -> Any:
    field = flow.model_fields.get("initial_state")
    return flow.__dict__.get("initial_state") or (field.default if field else None)


def raw_state(flow: Flow[Any]) -> Any:
    """The state itself; ``flow.state`` is a proxy around it."""
    return flow._state  # noqa: SLF001  # the proxy cannot be serialised


def silence_console() -> None:
    """No panels in this context, whatever ``verbose`` says."""
    printer = importlib.import_module("crewai_core.printer")
    printer.set_suppress_console_output(True)


@contextmanager
def watched_events(take: Callable[[Any, Any], None]) -> Iterator[None]:
    """Have *take* called with the source and each event of this process, as it is emitted.

    A stream sink, which is public, belongs to a context: what a thread of a user's own emits would
    not reach it. So this stands before CrewAI's ``publish_stream_event``, which feeds the sinks.
    """
    publish = getattr(event_bus, "publish_stream_event")  # noqa: B009  # it only imports it

    def watched(source: Any, event: Any) -> None:
        take(source, event)
        publish(source, event)

    setattr(event_bus, "publish_stream_event", watched)  # noqa: B010  # mypy forbids the other
    try:
        yield
    finally:
        setattr(event_bus, "publish_stream_event", publish)  # noqa: B010


def channel_of(event: Any) -> str:
    """As ``crewai.utilities.streaming`` divides what it streams."""
    if isinstance(event, LLMEventBase):
        return "llm"
    if isinstance(event, ConversationMessageAddedEvent):
        return "messages"
    if isinstance(event, FlowEvent):
        return "flow"
    if isinstance(event, ToolUsageEvent | ToolExecutionErrorEvent):
        return "tools"
    return "lifecycle" if "error" in event.type or "failed" in event.type else "custom"


def flush_events() -> None:
    """Wait until CrewAI's own handlers have seen all events of this process."""
    crewai_event_bus.flush()


def settle_tasks_that_end_oddly() -> None:
    """Let whoever waits for an ``async_execution`` task hear of any end of its thread.

    CrewAI's thread reports only ``Exception`` (crewai/task.py, ``_execute_task_async``), so a crew
    would wait for ever for a task that was ended by something else.
    """
    setattr(Task, "_execute_task_async", _execute_and_settle)  # noqa: B010  # mypy forbids the other


_execute_as_crewai = Task._execute_task_async  # noqa: SLF001  # the thread's target


def _execute_and_settle(task: Task, agent: Any, context: Any, tools: Any, future: Any) -> None:
    try:
        _execute_as_crewai(task, agent, context, tools, future)
    except BaseException as error:  # noqa: BLE001  # it goes to the one who waits
        future.set_exception(error)


Step = Callable[..., Awaitable[tuple[Any, str | None]]]
"""``Flow._execute_method``: given a name, the method and its arguments, it runs the method, and
returns the result and the id of the event that said so."""


def wrap_steps(flow: Flow[Any], wrapper: Callable[[Step], Step]) -> None:
    """Put *wrapper* around each call of a method of this one flow object.

    Starts, listeners and routers all come through here, on the event loop. What listens to a method
    is looked for after this has returned.
    """
    object.__setattr__(flow, "_execute_method", wrapper(flow._execute_method))  # noqa: SLF001


def feedback_on(flow: Flow[Any], name: str) -> HumanFeedbackResult | None:
    """What a person said of the last call of the method; None if it asks nobody."""
    method = flow._definition.methods.get(name)  # noqa: SLF001  # the class's may be another
    if method is None or method.human_feedback is None:
        return None
    return next(
        (found for found in reversed(flow.human_feedback_history) if found.method_name == name),
        None,
    )


def note_step(flow: Flow[Any], name: str, result: Any) -> Any:
    """Make the engine believe that the method has just returned *result*.

    Returns what its listeners get: of an answered question with outcomes, the outcome. The end of
    ``_execute_method``, without events; for feedback, ``_run_human_feedback_step`` as well.
    """
    entry, returned = {"method": name, "output": result}, result
    asks = flow._definition.methods[name].human_feedback  # noqa: SLF001
    if asks is not None and isinstance(result, HumanFeedbackResult):
        flow.human_feedback_history.append(result)
        flow.last_human_feedback = result
        if asks.emit:
            entry = {"method": name, "output": result.output, "human_feedback": result}
            returned = result.outcome
    method = FlowMethodName(name)
    flow._method_outputs.append(entry)  # noqa: SLF001
    counts = flow._method_execution_counts  # noqa: SLF001
    counts[method] = counts.get(method, 0) + 1
    flow._completed_methods.add(method)  # noqa: SLF001
    return returned
