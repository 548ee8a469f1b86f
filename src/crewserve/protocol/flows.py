"""Flows on the wire."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from crewserve.domain.flow import FlowDescription, FlowHealth, FlowSpec


class FlowSummary(BaseModel):
    """A served flow."""

    name: str
    status: FlowHealth = Field(description="`loading` until its module was imported.")
    description: str | None = None
    execute_url: str = Field(description="POST the inputs here.")
    error: str | None = Field(None, description="Why it cannot be loaded.")


class GraphNode(BaseModel):
    """A method of the flow."""

    name: str
    type: str = Field(description="`start`, `listen` or `router`.")
    description: str | None = None
    emits: list[str] = Field(description="Outcomes of a router, where they are known.")


class GraphEdge(BaseModel):
    """*target* runs after *source*."""

    source: str | None = Field(description="null: a router whose outcomes cannot be seen.")
    target: str
    label: str | None = Field(None, description="The router's outcome that leads there.")
    join: str | None = Field(None, description="`and`: it waits for all of them.")


class Graph(BaseModel):
    """The flow's methods and what makes each of them run."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


class FlowDetail(FlowSummary):
    """All that loading a flow revealed."""

    input_schema: Mapping[str, Any] | None = Field(
        None, description="JSON Schema of the body of `execute`; null while loading."
    )
    graph: Graph | None = None
    digest: str | None = Field(None, description="Changes whenever the flow's code does.")
    traceback: str | None = Field(None, description="Only on servers that are not exposed.")


class FlowList(BaseModel):
    """Every served flow, by name."""

    flows: list[FlowSummary]


def summary_fields(
    spec: FlowSpec, description: FlowDescription, execute_url: str
) -> dict[str, Any]:
    """The fields of `FlowSummary`."""
    return {
        "name": spec.name,
        "status": description.health,
        "description": description.description,
        "execute_url": execute_url,
        "error": description.error,
    }


def detail(
    spec: FlowSpec, description: FlowDescription, execute_url: str, *, tracebacks: bool
) -> FlowDetail:
    """What is known of *spec*."""
    graph = description.graph
    return FlowDetail(
        **summary_fields(spec, description, execute_url),
        input_schema=spec.input_schema or description.input_schema,
        graph=Graph.model_validate({"nodes": graph.nodes, "edges": graph.edges}) if graph else None,
        digest=description.digest,
        traceback=description.traceback if tracebacks else None,
    )
