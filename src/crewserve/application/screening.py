"""What can be said of inputs where no flow is loaded: only what every state model would refuse.

A JSON Schema is stricter than the model that it was made from, which takes ``"3"`` for a number,
and blind to its validators. So missing fields and wrong shapes are told here; the worker says the
rest, and the execution then ends as `invalid_input`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import FieldError
from crewserve.domain.flow import FlowSpec

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Screening:
    """`ChecksInputs` by the schemas that workers have reported."""

    catalog: FlowCatalog

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `ChecksInputs`. While nothing is known of the flow, anything passes."""
        schema = self.catalog.description(flow.name).input_schema
        return [] if schema is None else list(_Screen(schema).refusals(schema, inputs, ""))

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """See `ChecksInputs`. Nobody knows here: a field may have several names."""
        return []

    async def check_ready(self) -> None:
        """See `ChecksInputs`. Workers on any host run the flows."""


@dataclass(frozen=True, slots=True)
class _Screen:
    root: Schema
    """Where references lead."""

    def refusals(self, schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
        if reference := schema.get("$ref"):
            schema = self._definition(reference)
        choices = schema.get("anyOf", schema.get("oneOf"))
        if choices:
            if all(any(self.refusals(choice, value, path)) for choice in choices):
                yield FieldError(path, "Input fits none of the possible types", "wrong_type")
            return
        match schema.get("type"), value:
            case "object", dict():
                yield from self._in_object(schema, value, path)
            case "array", list():
                yield from self._in_array(schema, value, path)
            case ("array", dict()) | (None, _):  # a named tuple takes both
                return
            case kind, _ if kind in ("array", "object") or isinstance(value, dict | list):
                yield FieldError(path, f"Input should be of type {kind}", "wrong_type")

    def _in_object(self, schema: Schema, value: dict[str, Any], path: str) -> Iterator[FieldError]:
        properties = schema.get("properties", {})
        if value.keys() <= properties.keys():  # an unknown name may be another one of a field
            for name in schema.get("required", ()):
                if name not in value:
                    yield FieldError(_below(path, name), "Field required", "missing")
        others = schema.get("additionalProperties")
        for name, inner in value.items():
            known = properties.get(name, others)
            if isinstance(known, dict):
                yield from self.refusals(known, inner, _below(path, name))

    def _in_array(self, schema: Schema, value: list[Any], path: str) -> Iterator[FieldError]:
        first = schema.get("prefixItems", [])
        for position, inner in enumerate(value):
            known = first[position] if position < len(first) else schema.get("items")
            if isinstance(known, dict):
                yield from self.refusals(known, inner, _below(path, position))

    def _definition(self, reference: str) -> Schema:
        """Any value fits one that leads elsewhere."""
        name = reference.removeprefix("#/$defs/")
        found: Schema = self.root.get("$defs", {}).get(name, {})
        return found


def _below(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)
