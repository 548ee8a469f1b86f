"""Every place where we touch what CrewAI does not promise. Checked against 1.15.

``tests/crew/test_internals.py`` fails loudly when a new version moves one of them.
"""

import importlib
import inspect
import threading
from typing import Any, Final, TypeVar

from crewai.events.event_bus import crewai_event_bus
from crewai.flow.flow import Flow
from crewai.flow.runtime import FlowState
from pydantic import BaseModel

FlowClass = type[Flow[Any]]

AFTER_IMPORT: Final = ("MainThread", "LanceDB")
"""Names of threads in a process that only imported CrewAI; LanceDB's survives a fork."""

AFTER_RUN: Final = (*AFTER_IMPORT, "CrewAI", "asyncio", "ThreadPoolExecutor", "Thread-")
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


def flush_events() -> None:
    """Wait until CrewAI's own handlers have seen all events of this process."""
    crewai_event_bus.flush()
