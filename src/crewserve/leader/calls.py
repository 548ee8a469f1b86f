"""What a follower may ask of the leader, as the annotations of the ports describe it."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    NamedTuple,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)

from crewserve.domain.errors import FieldError, ValueRefused
from crewserve.domain.flow import FlowDescription
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.ports import ApiKeyWriter, AuditWriter, ExecutionStore


class Checks(Protocol):
    """`ChecksInputs`, which takes what only this process knows of a flow."""

    async def validate(self, flow: FlowName, inputs: Mapping[str, Any]) -> Sequence[FieldError]: ...

    async def unknown_fields(
        self, flow: FlowName, names: Collection[str]
    ) -> Sequence[FieldError]: ...

    async def check_ready(self) -> None: ...


class Drains(Protocol):
    """Of `WorkerRegistry`, what a process that only takes requests may write."""

    def request_drain(self, name: WorkerName, since: datetime | None) -> Future[None]: ...


class Writes(NamedTuple):
    """Who performs what is asked for."""

    store: ExecutionStore
    workers: Drains
    api_keys: ApiKeyWriter
    audit: AuditWriter

    def named(self, name: str) -> Callable[..., Future[Any]]:
        """The method of that name."""
        ports = ((self.workers, Drains), (self.api_keys, ApiKeyWriter), (self.audit, AuditWriter))
        part = next((part for part, port in ports if name in vars(port)), self.store)
        method: Callable[..., Future[Any]] = getattr(part, name)
        return method


Descriptions = Mapping[FlowName, FlowDescription]
"""What a leader tells all of its followers, without being asked."""

PORTS: Final = (ExecutionStore, Drains, ApiKeyWriter, AuditWriter, Checks)


@dataclass(frozen=True, slots=True)
class Shape:
    """How values of one type cross."""

    _adapter: "TypeAdapter[Any]"

    def dump(self, value: Any) -> Any:
        """For `to_json`; fields that have their defaults are left out."""
        return self._adapter.dump_python(value, exclude_defaults=True, warnings=False)

    def load(self, raw: Any) -> Any:
        """Raises: ValueRefused, when it was made by another version of this package."""
        try:
            return self._adapter.validate_python(raw)
        except ValidationError as error:
            raise ValueRefused("another version of the server has sent it") from error


@dataclass(frozen=True, slots=True)
class Call:
    """One method of a port."""

    signature: inspect.Signature
    arguments: Mapping[str, Shape]
    result: Shape

    def dump(self, *values: Any, **named: Any) -> Any:
        """The arguments."""
        given = self.signature.bind(None, *values, **named).arguments
        return {name: shape.dump(given[name]) for name, shape in self._given(given)}

    def load(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The reverse of `dump`. Raises: ValueRefused."""
        return {name: shape.load(raw[name]) for name, shape in self._given(raw)}

    def _given(self, given: Mapping[str, Any]) -> list[tuple[str, Shape]]:
        return [(name, shape) for name, shape in self.arguments.items() if name in given]


@cache
def calls() -> Mapping[str, Call]:
    """By name. Made when they are needed, which a process without others never does."""
    return {
        name: _call(function)
        for port in PORTS
        for name, function in vars(port).items()
        if inspect.isfunction(function) and _answers(function)
    }


def _answers(function: Callable[..., Any]) -> bool:
    """Not so what registers a callback, which cannot cross."""
    is_future = get_origin(get_type_hints(function).get("return")) is Future
    return is_future or inspect.iscoroutinefunction(function)


def _call(function: Callable[..., Any]) -> Call:
    types = get_type_hints(function)
    result = types.pop("return")
    if get_origin(result) is Future:
        [result] = get_args(result)
    arguments = {name: shape(annotation) for name, annotation in types.items()}
    return Call(inspect.signature(function), arguments, shape(result))


@cache
def shape(annotation: Any) -> Shape:
    return Shape(TypeAdapter(_crossing(annotation)))


def _crossing(annotation: Any) -> Any:
    """*annotation*, with another one wherever JSON or Pydantic has no such thing."""
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind in (Union, UnionType):
        if all(is_dataclass(part) for part in parts):
            return _named(parts)
        return Union[tuple(map(_crossing, parts))]  # noqa: UP007  # made of a tuple
    if kind is Collection:
        return _in_a_list(parts[0])
    if kind is Mapping and getattr(parts[0], "__supertype__", parts[0]) is not str:
        return _in_pairs(*parts)
    return annotation


def _named(kinds: Sequence[type]) -> Any:
    """One of several dataclasses, with its name: two may have the same fields."""
    shapes = {kind.__name__: shape(kind) for kind in kinds}

    def dump(value: Any) -> Any:
        name = type(value).__name__
        return [name, shapes[name].dump(value)]

    def load(raw: Any) -> Any:
        name, fields = raw
        return shapes[name].load(fields)

    return Annotated[Any, PlainSerializer(dump), PlainValidator(load)]


def _in_a_list(item: Any) -> Any:
    """A collection of whatever kind."""
    items: Any = list[item]

    def dump(collection: Collection[Any], handler: SerializerFunctionWrapHandler) -> Any:
        return handler(list(collection))

    return Annotated[items, WrapSerializer(dump)]


def _in_pairs(key: Any, value: Any) -> Any:
    """A mapping whose keys are no text."""
    pairs: Any = list[tuple[key, value]]
    mapping: Any = dict[key, value]

    def dump(mapping: Mapping[Any, Any]) -> Any:
        return list(mapping.items())

    def load(raw: Any) -> Any:
        return {tuple(first): second for first, second in raw}

    return Annotated[mapping, PlainSerializer(dump, return_type=pairs), BeforeValidator(load)]
