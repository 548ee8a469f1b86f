"""What a step returned, and a flow's state, as JSON data and back: exactly, or not at all.

JSON's own values stay what they are. An object whose first key begins with ``$`` is anything else:
``{"$tuple": [...]}``, ``{"$date": "2026-01-31"}``, ``{"$model": "shop.orders:Order", ...}``. A dict
that JSON cannot hold, or that looks like one of these, becomes ``{"$dict": [[key, value], ...]}``.

Nothing in the data can name a callable: a reference is followed only to a class that says of itself
that it has that name, and only models, dataclasses and enumerations are accepted. Their instances
are put together field by field, as a copy is. No constructor, validator or ``__post_init__`` runs:
a validator may change or refuse what an object has long held. What two values shared is shared no
more.
"""

import dataclasses
import functools
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from crewserve.crew.scalars import IN_JSON, TEXTS, Text

MAX_DEPTH: Final = 64
"""Of values in values: each takes several of the thousand frames that Python allows."""


class NotEncodable(ValueError):
    """A value that would not come back as it was. The text is a sentence for the flow's author."""


class NotDecodable(ValueError):
    """Data that ``encode`` did not write, or that names a class which is not what it was."""


def encode(value: Any, name: str = "value") -> Any:
    """JSON data. *name* is what the value is called in an error.

    Raises: NotEncodable.
    """
    encoder = _Encoder()
    try:
        data = encoder.encode(value, name)
        if encoder.has_references:
            _check_again(data, name)
    except RecursionError:
        raise NotEncodable(f"{name} cannot be kept: it is too deep") from None
    return data


def decode(data: Any) -> Any:
    """What was given to ``encode``. Raises: NotDecodable."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    tag = next(iter(data), "")
    if not tag.startswith("$"):
        return {key: decode(value) for key, value in data.items()}
    if tag not in _DECODERS:
        raise NotDecodable(f"{tag} means nothing here")
    try:
        return _DECODERS[tag](data)
    except NotDecodable:
        raise
    except Exception as error:
        raise NotDecodable(f"{tag} does not hold what it should: {error}") from error


def contents(model: BaseModel) -> dict[str, Any]:
    """Its fields, even those that a dump leaves out, extra fields and private attributes.

    No two of them have the same name. Raises: NotEncodable.
    """
    declared = type(model).model_fields
    if missing := declared.keys() - vars(model).keys():
        raise NotEncodable(
            f"{_reference(type(model))} has a field that was never set: {min(missing)}"
        )
    if unknown := _own_attributes(model) - declared.keys():
        raise NotEncodable(f"{_reference(type(model))}.{min(unknown)} is not one of its fields")
    fields = {name: vars(model)[name] for name in declared}
    return {**fields, **(model.__pydantic_extra__ or {}), **_private(model)}


def fill(model: BaseModel, found: Mapping[str, Any]) -> None:
    """Make *found*, which ``contents`` gave, the contents of *model*. All of it counts as set.

    Raises: NotDecodable, when the model's class has other fields than those.
    """
    declared, private = type(model).model_fields, type(model).__private_attributes__
    others = {name: found[name] for name in found if name not in declared and name not in private}
    may_have_others = type(model).model_config.get("extra") == "allow"
    if not declared.keys() <= found.keys() or (others and not may_have_others):
        raise NotDecodable(f"{_reference(type(model))} has other fields than it had")
    attributes = {name: found[name] for name in private if name in found}
    BaseModel.__setstate__(
        model,
        {
            "__dict__": {name: found[name] for name in declared},
            "__pydantic_extra__": others if may_have_others else None,
            "__pydantic_fields_set__": {*declared, *others},
            "__pydantic_private__": attributes if private else None,
        },
    )


class _Encoder:
    """One call of ``encode``."""

    def __init__(self) -> None:
        self.has_references = False
        self._open: set[int] = set()

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        try:
            if kind in IN_JSON:
                IN_JSON[kind](value)
                return value
            if kind in TEXTS:
                return {TEXTS[kind].tag: TEXTS[kind].write(value)}
        except ValueError as error:
            raise NotEncodable(f"{path} cannot be kept: it is {error}") from None
        if isinstance(value, Enum):
            return self._enum(value, path)
        with self._inside(value, path):
            return self._container(value, path)

    @contextmanager
    def _inside(self, value: Any, path: str) -> Iterator[None]:
        if id(value) in self._open:
            raise NotEncodable(f"{path[:200]} cannot be kept: it contains itself")
        if len(self._open) == MAX_DEPTH:
            raise NotEncodable(f"{path[:200]}... is more than {MAX_DEPTH} levels deep")
        self._open.add(id(value))
        try:
            yield
        finally:
            self._open.remove(id(value))

    def _container(self, value: Any, path: str) -> Any:
        if type(value) is list:
            return self._items(value, path)
        if type(value) is dict:
            return self._dict(value, path)
        if type(value) is tuple:
            return {"$tuple": self._items(value, path)}
        if type(value) in _SETS:
            return {_SETS[type(value)]: sorted(self._items(value, path), key=json.dumps)}
        if isinstance(value, BaseModel):
            return self._model(value, path)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, path)
        raise NotEncodable(f"{path} cannot be kept: it is a {_reference(type(value))}")

    def _items(self, values: Iterable[Any], path: str) -> list[Any]:
        return [self.encode(item, f"{path}[{index}]") for index, item in enumerate(list(values))]

    def _dict(self, value: Mapping[Any, Any], path: str) -> Any:
        items = list(value.items())  # at once: a thread of the flow may be changing it
        if all(type(key) is str and not key.startswith("$") for key, _ in items):
            return {
                self.encode(key, f"a key of {path}"): self.encode(item, f"{path}.{key[:40]}")
                for key, item in items
            }
        return {
            "$dict": [
                [self.encode(key, f"a key of {path}"), self.encode(item, f"{path}[{_label(key)}]")]
                for key, item in items
            ]
        }

    def _enum(self, value: Enum, path: str) -> Any:
        reference = self._refer(value, path)
        if type(value).__members__.get(value.name) is not value:
            raise NotEncodable(f"{path} cannot be kept: it is several flags at once")
        return {"$enum": reference, "name": value.name}

    def _model(self, value: BaseModel, path: str) -> Any:
        reference, found = self._refer(value, path), contents(value)
        data = {"$model": reference, "has": self._dict(found, path)}
        unset = found.keys() - value.model_fields_set - _private(value).keys()
        return {**data, "unset": sorted(unset)} if unset else data

    def _dataclass(self, value: Any, path: str) -> Any:
        reference = self._refer(value, path)
        names = [field.name for field in dataclasses.fields(value)]
        if unknown := _own_attributes(value) - set(names):
            raise NotEncodable(f"{path}.{min(unknown)} cannot be kept: it is not one of its fields")
        found = {name: getattr(value, name) for name in names if hasattr(value, name)}
        return {"$dataclass": reference, "has": self._dict(found, path)}

    def _refer(self, value: Any, path: str) -> str:
        """The name of its class, by which another process finds the same class."""
        reference = _reference(type(value))
        try:
            found = _class(reference)
        except NotDecodable as error:
            raise NotEncodable(f"{path} cannot be kept: {error}") from None
        if found is not type(value):
            raise NotEncodable(f"{path} cannot be kept: there are two classes {reference}")
        self.has_references = True
        return reference


def _check_again(data: Any, name: str) -> None:
    try:
        same = _Encoder().encode(decode(data), name) == data
    except ValueError as error:
        raise NotEncodable(f"{name} would not come back as it was: {error}") from None
    if not same:
        raise NotEncodable(f"{name} would not come back as it was")


def _label(key: Any) -> str:
    return f"{key!r:.40}" if type(key) in IN_JSON else type(key).__name__


def _private(model: BaseModel) -> dict[str, Any]:
    attributes = model.__pydantic_private__ or {}
    return {name: value for name, value in attributes.items() if value is not PydanticUndefined}


def _own_attributes(value: Any) -> set[str]:
    """Without those that are computed again when they are asked for."""
    return {
        name
        for name in getattr(value, "__dict__", ())
        if not isinstance(getattr(type(value), name, None), functools.cached_property)
    }


def _reference(found: type) -> str:
    return f"{found.__module__}:{found.__qualname__}"


def _class(reference: str) -> type:
    """The class of that name, which may be imported for it. Raises: NotDecodable."""
    module_name, _, path = reference.partition(":")
    if module_name == "__main__":
        raise NotDecodable(f"{reference} is in a script, which no other process can import")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise NotDecodable(f"{module_name} cannot be imported: {error}") from error
    for name in path.split("."):
        found = vars(found).get(name) if isinstance(found, type | type(sys)) else None
    if not isinstance(found, type) or _reference(found) != reference:
        raise NotDecodable(f"{reference} is not a class that can be found by its name")
    return found


def _blank(reference: str, *, is_kind: Callable[[type], bool]) -> Any:
    """An instance without contents of the class, if that is what it should be."""
    found = _class(reference)
    if not is_kind(found):
        raise NotDecodable(f"{reference} is not what the data says it is")
    return object.__new__(found)


def _decode_model(data: Mapping[str, Any]) -> BaseModel:
    made: BaseModel = _blank(data["$model"], is_kind=lambda found: issubclass(found, BaseModel))
    fill(made, decode(data["has"]))
    made.model_fields_set.difference_update(data.get("unset", ()))
    return made


def _decode_dataclass(data: Mapping[str, Any]) -> Any:
    made = _blank(data["$dataclass"], is_kind=dataclasses.is_dataclass)
    found = decode(data["has"])
    if not found.keys() <= {field.name for field in dataclasses.fields(made)}:
        raise NotDecodable(f"{data['$dataclass']} has other fields than it had")
    for name, value in found.items():
        object.__setattr__(made, name, value)  # it may be frozen
    return made


def _decode_enum(data: Mapping[str, Any]) -> Enum:
    found = _class(data["$enum"])
    if not issubclass(found, Enum):
        raise NotDecodable(f"{data['$enum']} is not an enumeration")
    return found.__members__[data["name"]]


def _decode_dict(data: Mapping[str, Any]) -> dict[Any, Any]:
    return {decode(key): decode(value) for key, value in data["$dict"]}


def _decode_text(text: Text, data: Mapping[str, Any]) -> Any:
    found = data[text.tag]
    if type(found) is not str:
        raise NotDecodable(f"{found!r:.40} is not a text")
    return text.read(found)


_SETS: Final[Mapping[type, str]] = {set: "$set", frozenset: "$frozenset"}

_DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "$dict": _decode_dict,
    "$tuple": lambda data: tuple(decode(data["$tuple"])),
    "$set": lambda data: set(decode(data["$set"])),
    "$frozenset": lambda data: frozenset(decode(data["$frozenset"])),
    "$enum": _decode_enum,
    "$model": _decode_model,
    "$dataclass": _decode_dataclass,
    **{text.tag: functools.partial(_decode_text, text) for text in TEXTS.values()},
}
