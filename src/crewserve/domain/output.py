"""What an execution prints and logs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

MAX_LINES: Final = 20_000
"""Of one attempt; what comes after them is only counted."""

MAX_LINE: Final = 8_192
"""Characters of one line; what is longer is cut."""


class Stream(StrEnum):
    """Where a line was written. Stored and served."""

    STDOUT = "stdout"
    STDERR = "stderr"
    LOG = "log"
    """A record of Python's ``logging``."""


class Level(StrEnum):
    """Of a record, the least first. Stored and served."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def and_above(self) -> frozenset["Level"]:
        """This level and those that are worse."""
        levels = list(Level)
        return frozenset(levels[levels.index(self) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, or one record, which may have several."""

    sequence: int = 0
    """Grows; those of an attempt are all above those of the one before. 0: not given yet."""
    at: datetime
    attempt: int
    stream: Stream
    text: str
    step: str | None = None
    """``method``, or ``method#2`` in its second call; None when several run and it is not known."""
    level: Level | None = None
    logger: str | None = None
    """Both only of a record."""


@dataclass(frozen=True, slots=True)
class WantedLines:
    """Which lines; empty does not filter."""

    streams: Collection[Stream] = ()
    levels: Collection[Level] = ()
    step: str | None = None

    def includes(self, line: Line) -> bool:
        """Whether *line* is one of them."""
        in_stream = not self.streams or line.stream in self.streams
        of_level = not self.levels or line.level in self.levels
        return in_stream and of_level and self.step in (None, line.step)


ALL_LINES: Final = WantedLines()
