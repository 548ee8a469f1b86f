"""Doing it again, differently: which recorded steps a new execution begins with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crewserve.domain.budget import Budget
from crewserve.domain.errors import FieldError, InvalidInputs, StepNotFound
from crewserve.domain.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How the new execution shall differ from the old one."""

    from_step: str | None = None
    """The first step that runs again: ``method``, ``method#2`` for its second call, or a position.
    None keeps all."""
    state: Mapping[str, Any] | None = None
    """Fields of the state to replace where it goes on."""
    inputs: Mapping[str, Any] | None = None
    """None: the same."""
    accepts_changes: bool = False
    budget: Budget | None = None
    """None: the same."""

    def check(self) -> None:
        """Raises: InvalidInputs."""
        if found := next(_tags(self.state), None):
            message = f"Names that begin with $ are reserved: {found}"
            raise InvalidInputs([FieldError("state", message, "reserved")])

    def kept(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Raises: StepNotFound."""
        kept = [step for step in steps if step.position < self._end(steps)]
        if kept and self.state:
            last = kept[-1]
            kept[-1] = replace(last, state={**(last.state or {}), **self.state})
        return kept

    def _end(self, steps: Sequence[Step]) -> float:
        if self.from_step is None:
            return float("inf")
        for step in steps:
            if self.from_step in (step.name, f"{step.name}#{step.call}", str(step.position)):
                return step.position
        raise StepNotFound(self.from_step, [f"{step.name}#{step.call}" for step in steps])


def _tags(data: Any) -> Iterator[str]:
    """Keys that the encoding of recorded steps gives a meaning (``crew/codec.py``)."""
    if isinstance(data, Mapping):
        yield from (key for key in data if key.startswith("$"))
        data = list(data.values())
    if isinstance(data, list):
        for part in data:
            yield from _tags(part)
