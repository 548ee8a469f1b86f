"""Running one flow to its end, in a process that belongs to it."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from traceback import format_exception
from typing import Any, Final, Protocol

from crewai.crews.crew_output import CrewOutput
from crewai.events.stream_context import add_stream_sink
from crewai.execution import set_execution_uuid
from crewai.flow.flow import Flow
from pydantic import BaseModel

from crewserve.crew.describing import digest, input_errors
from crewserve.crew.durable import Recorded, make_durable
from crewserve.crew.environment import redacted
from crewserve.crew.events import EventWatch
from crewserve.crew.internals import (
    FlowClass,
    raw_state,
    silence_console,
    state_class,
    watched_events,
)
from crewserve.crew.loading import FlowNotLoaded, explain, load
from crewserve.crew.metering import Meter
from crewserve.crew.stopping import StepThreads, Stop
from crewserve.crew.wire import Message

STEP_THREADS: Final = 64
"""CrewAI runs every synchronous step in the loop's default executor, which on a small machine has
six threads: fewer than a flow may have parallel steps."""

MAX_TRACEBACK: Final = 16_000
"""Characters; the end of a traceback is the part that helps."""


class Host(Protocol):
    """What a run needs of whoever asked for it."""

    def begin_run(self) -> "Future[None]":
        """Resolves when the run shall stop."""
        ...

    def record(self, step: Message) -> "Future[None]":
        """Resolves when the step is durable."""
        ...

    def note(self, event: Message) -> None:
        """Take what happened; it is sent before whatever else is."""
        ...

    def exceed(self, message: str, step: str | None) -> None:
        """Take why and where the run stops: it would not keep within its budget."""
        ...


def run(task: Message, host: Host) -> Message:
    """Kick off the flow and wait for it.

    Returns ``{"state", "output"}``, ``{"stopped"}`` or ``{"failure"}``.
    """
    stop, failed_steps = Stop(), list[str]()
    host.begin_run().add_done_callback(lambda _: stop.request())
    try:
        flow = load(task["run"])
    except FlowNotLoaded as error:
        reason = explain(error)
        return _failure("flow_error", reason.message, traceback=reason.traceback)
    if refusal := _refusal(flow, task):
        return refusal
    try:
        with watched_events(_watch(task, host, stop)), asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(StepThreads(stop, STEP_THREADS))
            return runner.run(_kickoff(flow, task, Attending(host, stop, failed_steps)))
    except BaseException as error:  # noqa: BLE001  # a flow may raise anything, even SystemExit
        if stop.requested:
            return {"stopped": True}
        return _raised(error, failed_steps[-1] if failed_steps else None)


def _watch(task: Message, host: Host, stop: Stop) -> Callable[[Any, Any], None]:
    """What takes the events: what a meter refuses is never told."""
    told = EventWatch(host.note, with_content=task["with_content"]).take
    if task["meter"] is None:
        return told
    meter = Meter(task["meter"], stop, host.exceed)

    def take(source: Any, event: Any) -> None:
        meter.take(source, event)
        told(source, event)

    return take


@dataclass(frozen=True, slots=True)
class Attending:
    """Whom a run works with."""

    host: Host
    stop: Stop
    failed_steps: list[str]
    """Names, in the order in which they failed."""

    def note_failure(self, _: object, event: Any) -> None:
        """A sink for CrewAI's events."""
        if event.type == "method_execution_failed":
            self.failed_steps.append(str(event.method_name))


def _refusal(flow: FlowClass, task: Message) -> Message | None:
    """Why it is not even tried."""
    errors = input_errors(flow, task["inputs"])
    if errors:
        named = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        return _failure("invalid_input", f"The inputs do not fit the flow: {named}")
    steps = task["steps"]
    if steps and not task["accepts_changes"] and task["digest"] != digest(flow):
        return _failure(
            "flow_changed",
            f"The flow's code is not the code that recorded its {len(steps)} finished steps. "
            "Retry it with accept_changes to go on from them, or start a new execution",
        )
    return None


async def _kickoff(flow_class: FlowClass, task: Message, attending: Attending) -> Message:
    silence_console()
    set_execution_uuid(task["execution_id"])
    add_stream_sink(attending.note_failure)
    flow, rest = _construct(flow_class, task["inputs"])
    _set_id(flow, task["execution_id"])
    code = digest(flow_class)

    def record(step: Message) -> "Future[None]":
        return attending.host.record({**step, "digest": code})

    make_durable(
        flow,
        [Recorded(**step) for step in task["steps"]],
        record,
        attending.stop.check,
        accepts_changes=task["accepts_changes"],
    )
    with attending.stop.watching():
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
