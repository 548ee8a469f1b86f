"""What the server must know about a flow to serve it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from crewserve.domain.flow_control import NO_CONTROL, FlowControl
from crewserve.domain.ids import FlowName
from crewserve.domain.policy import DEFAULT, Policy

ShapeResult = Callable[[Mapping[str, Any]], Any]
"""Makes the result from the flow's final state; raises ValueError when the state does not fit."""

CheckInputs = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Returns the inputs as the flow gets them; raises InvalidInputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """A flow to serve."""

    name: FlowName
    ref: str
    """Where its class is: ``package.module:ClassName``, imported only by the template process."""
    input_schema: Mapping[str, Any] | None = None
    """JSON Schema of the request model that checks inputs in the API; None: the flow's own state
    model checks them, in the validator process."""
    shape_result: ShapeResult | None = None
    """None: the result is what ``kickoff()`` returned."""
    check_inputs: CheckInputs | None = None
    """The request model, as a function; None like ``input_schema``."""
    policy: Policy = DEFAULT
    """Of executions that do not ask for another."""
    control: FlowControl = NO_CONTROL
    reuse: int = 1
    """How many executions one process may run before it is replaced. 1: a fresh one each time."""


class FlowHealth(StrEnum):
    """Whether a flow can run on this machine."""

    LOADING = "loading"
    """The template process has not reported yet."""

    READY = "ready"
    """Its class was imported."""

    BROKEN = "broken"
    """Its module or class could not be imported; ``error`` has the traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowGraph:
    """The methods of a flow and what makes each of them run."""

    nodes: tuple[Mapping[str, Any], ...]
    """``name``, ``type`` (``start``, ``listen`` or ``router``), ``description``, ``emits``."""
    edges: tuple[Mapping[str, Any], ...]
    """``source``, ``target``, ``label`` (of a router's outcome) and ``join`` (``and``, ``or``).

    Without a source: CrewAI cannot see which router has that outcome.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDescription:
    """What loading a flow's class revealed."""

    health: FlowHealth
    description: str | None = None
    input_schema: Mapping[str, Any] | None = None
    graph: FlowGraph | None = None
    digest: str | None = None
    """SHA-256 of the flow's source files and graph: another digest is other code."""
    error: str | None = None
    """One line, for clients."""
    traceback: str | None = None


LOADING = FlowDescription(health=FlowHealth.LOADING)
