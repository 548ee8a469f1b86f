"""What can be said of inputs where no flow is loaded: only what every state model would refuse.

JSON Schema is stricter than Pydantic, which takes ``"3"`` for a number, and blind to validators. So
what is told here is what both agree on; the worker says the rest, and the execution then ends as
`invalid_input`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import FieldError
from crewserve.domain.flow import FlowSpec

_CONTAINERS: Final = frozenset({"array", "object"})


@dataclass(frozen=True, slots=True)
class Screening:
    """Checks inputs against the schema that a worker has reported."""

    catalog: FlowCatalog

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `ChecksInputs`. While nothing is known of the flow, anything passes."""
        schema = self.catalog.description(flow.name).input_schema
        if schema is None:
            return []
        errors = Draft202012Validator(schema).iter_errors(inputs)
        return list(dict.fromkeys(found for error in errors for found in _told(error)))


def _told(error: ValidationError) -> Iterator[FieldError]:
    if not _is_sure(error):
        return
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield FieldError(".".join([*path, name]), "Field required", "missing")
    else:
        yield FieldError(".".join(path), "Input has the wrong type", "wrong_type")


def _is_sure(error: ValidationError) -> bool:
    """Whether Pydantic refuses it too."""
    match error.validator:
        case "required":  # an unknown name may be another one of the field
            return set(error.instance) <= set(error.schema.get("properties", ()))
        case "type":
            return isinstance(error.instance, dict | list) or _takes_only_containers(error)
        case "anyOf" | "oneOf":
            choices = defaultdict(list)
            for found in error.context or ():
                choices[found.schema_path[0]].append(found)
            return bool(choices) and all(any(map(_is_sure, one)) for one in choices.values())
        case _:
            return False


def _takes_only_containers(error: ValidationError) -> bool:
    expected = error.validator_value
    return set([expected] if isinstance(expected, str) else expected) <= _CONTAINERS
