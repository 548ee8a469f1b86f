"""Running one flow to its end, in a process that belongs to it."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from traceback import format_exception
from typing import Any, Final

from crewai.crews.crew_output import CrewOutput
from crewai.events.stream_context import add_stream_sink
from crewai.execution import set_execution_uuid
from crewai.flow.flow import Flow
from pydantic import BaseModel

from crewserve.crew.describing import input_errors
from crewserve.crew.environment import redacted
from crewserve.crew.internals import FlowClass, raw_state, silence_console, state_class
from crewserve.crew.loading import FlowNotLoaded, explain, load
from crewserve.crew.wire import Message

STEP_THREADS: Final = 64
"""CrewAI runs every synchronous step in the loop's default executor, which on a small machine has
six threads: fewer than a flow may have parallel steps."""

MAX_TRACEBACK: Final = 16_000
"""Characters; the end of a traceback is the part that helps."""


def run(ref: str, execution_id: str, inputs: Mapping[str, Any]) -> Message:
    """Kick off the flow and wait for it. Returns ``{"state", "output"}`` or ``{"failure"}``."""
    steps: list[str] = []
    try:
        flow = load(ref)
    except FlowNotLoaded as error:
        reason = explain(error)
        return _failure("flow_error", reason.message, traceback=reason.traceback)
    errors = input_errors(flow, inputs)
    if errors:
        named = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        return _failure("invalid_input", f"The inputs do not fit the flow: {named}")
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(ThreadPoolExecutor(STEP_THREADS))
            return runner.run(_kickoff(flow, execution_id, inputs, steps))
    except BaseException as error:  # noqa: BLE001  # a flow may raise anything, even SystemExit
        return _raised(error, steps[-1] if steps else None)


async def _kickoff(
    flow_class: FlowClass, execution_id: str, inputs: Mapping[str, Any], failed_steps: list[str]
) -> Message:
    def note_failed_step(_: object, event: Any) -> None:
        if event.type == "method_execution_failed":
            failed_steps.append(str(event.method_name))

    silence_console()
    set_execution_uuid(execution_id)
    add_stream_sink(note_failed_step)
    flow, rest = _construct(flow_class, inputs)
    _set_id(flow, execution_id)
    output = await flow.kickoff_async(inputs=rest)
    return {"state": _state(flow), "output": _plain(output)}


def _construct(
    flow: FlowClass, inputs: Mapping[str, Any]
) -> tuple[Flow[Any], dict[str, Any] | None]:
    """A state model with required fields can only be built together with the inputs."""
    model = state_class(flow)
    if model is not None and any(field.is_required() for field in model.model_fields.values()):
        return flow(initial_state=model.model_validate(dict(inputs))), None
    return flow(), dict(inputs)


def _set_id(flow: Flow[Any], execution_id: str) -> None:
    """Makes state id, CrewAI's flow id and our execution id one and the same.

    Passing it as an input would make CrewAI look for persisted state of that id.
    """
    state = raw_state(flow)
    if isinstance(state, dict):
        state["id"] = execution_id
    else:
        state.id = execution_id


def _state(flow: Flow[Any]) -> Mapping[str, Any]:
    state = raw_state(flow)
    fields = state.model_dump() if isinstance(state, BaseModel) else dict(state)
    fields.pop("id", None)
    return fields


def _plain(output: Any) -> Any:
    """A crew's result is what its last task wrote, not the crew's bookkeeping."""
    if isinstance(output, CrewOutput):
        return output.pydantic or output.json_dict or output.raw
    return output


def _raised(error: BaseException, step: str | None) -> Message:
    return _failure(
        "flow_error",
        str(error) or f"{type(error).__name__} was raised without a message",
        type_=type(error).__name__,
        step=step,
        traceback="".join(format_exception(error)),
    )


def _failure(
    code: str,
    message: str,
    *,
    type_: str | None = None,
    step: str | None = None,
    traceback: str | None = None,
) -> Message:
    return {
        "failure": {
            "code": code,
            "message": redacted(message),
            "type": type_,
            "step": step,
            "traceback": redacted(traceback[-MAX_TRACEBACK:]) if traceback else None,
        }
    }
