"""Errors on their way from the leader to a follower: they arrive as what they were."""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from crewserve.domain.errors import CrewserveError
from crewserve.leader.calls import Shape, shape


def dump_error(error: Exception) -> Mapping[str, Any]:
    """Of what nobody raised on purpose, only that it happened."""
    if not isinstance(error, CrewserveError):
        return {"type": None}
    kind: Any = type(error)
    facts = {name: _facts(kind)[name].dump(value) for name, value in vars(error).items()}
    return {"type": kind.__name__, "text": str(error), "facts": facts}


def load_error(raw: Mapping[str, Any]) -> Exception:
    """The reverse of `dump_error`."""
    kind = _kinds().get(raw["type"])
    if kind is None:
        return RuntimeError("The process that leads has failed; its log says why")
    error: Exception = kind.__new__(kind, raw["text"])
    vars(error).update({name: _facts(kind)[name].load(fact) for name, fact in raw["facts"].items()})
    return error


@cache
def _kinds() -> Mapping[str, Any]:
    return {kind.__name__: kind for kind in CrewserveError.__subclasses__()}


@cache
def _facts(kind: Any) -> Mapping[str, Shape]:
    """What an error keeps has the name and the type of what it is made with."""
    types = get_type_hints(kind.__init__)
    return {name: shape(annotation) for name, annotation in types.items() if name != "return"}
