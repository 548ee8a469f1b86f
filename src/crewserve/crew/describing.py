"""What can be said of a flow class without running it. None of this emits a CrewAI event."""

import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from traceback import format_exception
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from crewserve.crew.environment import redacted
from crewserve.crew.internals import FlowClass, state_model
from crewserve.crew.loading import FlowNotLoaded, LoadError, explain, load
from crewserve.crew.wire import Message

SOURCE_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".json", ".toml", ".md", ".txt"})


def describe(ref: str) -> Message:
    """The fields of `FlowDescription`, as JSON data."""
    try:
        return _described(load(ref))
    except FlowNotLoaded as error:
        reason = explain(error)
    except Exception as error:  # noqa: BLE001  # a state model may be wrong in any way
        reason = LoadError(
            message=redacted(f"its state model cannot be used: {type(error).__name__}: {error}"),
            traceback=redacted("".join(format_exception(error))),
        )
    return {"health": "broken", "error": reason.message, "traceback": reason.traceback}


def _described(flow: FlowClass) -> Message:
    graph = _graph(flow)
    return {
        "health": "ready",
        "description": _first_words(flow),
        "input_schema": _input_schema(flow),
        "graph": graph,
        "digest": digest(flow),
    }


def input_errors(flow: FlowClass, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is wrong with *inputs*, in the words of the flow's own state model."""
    model = state_model(flow)
    if model is None:
        return []
    try:
        model.model_validate(dict(inputs))
    except ValidationError as error:
        return [
            {
                "field": ".".join(str(part) for part in found["loc"]),
                "message": found["msg"],
                "type": found["type"],
            }
            for found in error.errors(include_url=False, include_input=False)
        ]
    except Exception as error:  # noqa: BLE001  # validators are user code
        message = redacted(f"{type(error).__name__}: {error}")
        return [{"field": "", "message": message, "type": "validator_failed"}]
    return []


def unknown_fields(flow: FlowClass, names: Iterable[str]) -> list[dict[str, str]]:
    """One error for each of *names* that the flow's state can have no field of."""
    model = state_model(flow)
    if model is None or model.model_config.get("extra") == "allow":
        return []
    known = ", ".join(model.model_fields) or "none"
    message = f"The flow's state has no field of this name; its fields are: {known}"
    return [
        {"field": f"state.{name}", "message": message, "type": "unknown_field"}
        for name in names
        if name not in model.model_fields
    ]


def _first_words(flow: FlowClass) -> str | None:
    return inspect.cleandoc(flow.__doc__) if flow.__doc__ else None


def _input_schema(flow: FlowClass) -> Mapping[str, Any]:
    model = state_model(flow)
    if model is None:
        return {"type": "object", "title": f"{flow.__name__}Inputs", "additionalProperties": True}
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema as error:
        return {"type": "object", "title": model.__name__, "description": str(error)}
    schema.get("properties", {}).pop("id", None)
    return schema


def _graph(flow: FlowClass) -> Mapping[str, Any]:
    definition = flow.flow_definition().model_dump(mode="json", by_alias=True, exclude_none=True)
    methods: Mapping[str, Any] = definition.get("methods", {})
    nodes = [_node(flow, name, method) for name, method in methods.items()]
    edges = [edge for name, method in methods.items() for edge in _edges(name, method, methods)]
    return {"nodes": nodes, "edges": edges}


def _node(flow: FlowClass, name: str, method: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = "router" if method.get("router") else "start" if method.get("start") else "listen"
    doc = inspect.getdoc(getattr(flow, name, None))
    return {"name": name, "type": kind, "description": doc, "emits": method.get("emit", [])}


def _edges(
    target: str, method: Mapping[str, Any], methods: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """One edge for every method or router outcome that *target* listens to."""
    for condition in (method.get("listen"), method.get("start")):
        for trigger, join in _triggers(condition, None):
            if trigger in methods:
                yield {"source": trigger, "target": target, "label": None, "join": join}
                continue
            routers = [name for name, other in methods.items() if trigger in other.get("emit", [])]
            for source in routers or (None,):
                yield {"source": source, "target": target, "label": trigger, "join": join}


@functools.cache
def endings(flow: FlowClass) -> frozenset[str]:
    """The methods after which nothing can begin."""
    graph = _graph(flow)
    heard = {edge["source"] for edge in graph["edges"]}
    return frozenset(
        node["name"]
        for node in graph["nodes"]
        if node["type"] != "router" and not node["emits"] and node["name"] not in heard
    )


def _triggers(condition: Any, join: str | None) -> Iterator[tuple[str, str | None]]:
    """Flatten ``"a"``, ``{"or": ["a", {"and": [...]}]}`` into names with their innermost join."""
    if isinstance(condition, str):
        yield condition, join
    elif isinstance(condition, Mapping):
        for kind, parts in condition.items():
            for part in parts if isinstance(parts, list) else [parts]:
                yield from _triggers(part, kind)


@functools.cache
def digest(flow: FlowClass) -> str:
    """SHA-256 of the flow's source files and graph, as they were when it was asked for first."""
    found = hashlib.sha256(json.dumps(_graph(flow), sort_keys=True).encode())
    for file in _sources(flow):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _sources(flow: FlowClass) -> list[Path]:
    """The files of the flow's package, or its one file when it is in none."""
    module = sys.modules[flow.__module__]
    if module.__file__ is None:
        return []
    file = Path(module.__file__)
    if not module.__package__:
        return [file]
    return sorted(path for path in file.parent.rglob("*") if path.suffix in SOURCE_SUFFIXES)
