"""Copies of whatever a flow tells, small enough to be sent and kept, and without objects.

What was cut says so in its place.
"""

import re
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from crewserve.domain.redaction import REDACTED

MAX_CHARACTERS: Final = 32_768
"""Of all text in one event."""

MAX_ITEMS: Final = 100
MAX_DEPTH: Final = 6
MAX_NUMBER: Final = 2**63
"""Larger integers are no numbers for most who read JSON."""

_CUT: Final = "… [cut]"
_PLAIN: Final = (datetime, date, time, timedelta, Decimal, UUID, PurePath)

_SECRET: Final = re.compile(
    r"(?i)(?:^|[_-])(?:key|token|secret|password|passwd|credentials?|authorization|cookie)$"
    r"|(?:api|access|private|secret)[_-]?key$|[a-z](?:Token|Secret|Password)$"
)
"""Names of what is never shown, whatever it looks like."""


class Bounded:
    """Copies the values of one event."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS

    def field(self, name: str, value: Any) -> Any:
        """*value*, unless it is called like a secret."""
        return REDACTED if _SECRET.search(name) else self.copy(value)

    def copy(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """JSON data; of an object whose class is not known, only the name of its class."""
        if isinstance(value, str):
            return self.text(str(value))
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < MAX_NUMBER else _CUT
        if isinstance(value, Enum):
            return self.copy(value.value, depth)
        return self._composed(value, depth)

    def _composed(self, value: Any, depth: int) -> Any:
        if isinstance(value, _PLAIN):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if isinstance(value, type):
            return value.__name__
        if isinstance(value, Mapping | Sequence | Set) and not isinstance(value, bytes | bytearray):
            return self._collected(value, depth - 1) if depth else _CUT
        return f"<{type(value).__name__}>"

    def _collected(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            items = list(value.items())
            copied = {
                self.text(str(name)): REDACTED
                if isinstance(name, str) and _SECRET.search(name)
                else self.copy(inner, depth)
                for name, inner in items[:MAX_ITEMS]
            }
            return {**copied, _CUT: len(items) - MAX_ITEMS} if len(items) > MAX_ITEMS else copied
        members = list(value)
        kept = [self.copy(inner, depth) for inner in members[:MAX_ITEMS]]
        return [*kept, _CUT] if len(members) > MAX_ITEMS else kept

    def text(self, text: str) -> str:
        """As much of it as there is room for."""
        kept = text[: self._left]
        self._left -= len(kept)
        return kept if len(kept) == len(text) else kept + _CUT
