"""What a caller calls an execution, to find it again."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_LABELS: Final = 20
"""Tags, and as many metadata."""

MAX_TAG: Final = 64
MAX_VALUE: Final = 256
"""Characters, of a name 64 as well."""

MAX_DIGITS: Final = 15
"""What is longer might not be the same number everywhere, so it is a text."""

Value = str | bool | int | float

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_QUOTED: Final = re.compile(r'".*"')


class Label(NamedTuple):
    """One tag or one of the metadata, as lists are asked for it."""

    name: str
    """``tag``, or ``metadata.`` and a name."""
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """All that one execution has; they never change."""

    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Value] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tags or self.metadata)

    def each(self) -> Iterator[Label]:
        """Each of them once."""
        yield from (Label("tag", tag) for tag in dict.fromkeys(self.tags))
        for name, value in self.metadata.items():
            yield Label(f"metadata.{name}", _text(value))


NO_LABELS: Final = Labels()


def read_value(text: str) -> Value:
    """A number, ``true``, ``false`` or a text, which may be in quotes to be one in any case."""
    if text in ("true", "false"):
        return text == "true"
    if len(text) <= MAX_DIGITS and (number := _NUMBER.fullmatch(text)):
        return float(text) if number[2] else int(text)
    return text[1:-1] if _QUOTED.fullmatch(text) else text


def _text(value: Value) -> str:
    """Alike for whatever is read as the same value."""
    return value if isinstance(value, str) else json.dumps(value)
