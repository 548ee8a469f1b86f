"""Numbers over time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from crewserve.domain.query import EPOCH, Bar
from crewserve.domain.status import Status


class Window(NamedTuple):
    """Intervals of equal length since 1970: those that this time touches."""

    begin: datetime
    end: datetime
    interval: timedelta


def chart(bars: Sequence[Bar], window: Window) -> Mapping[datetime, Mapping[Status, int]]:
    """*bars* by the start of their interval, the oldest first, with those that are empty."""
    first = (window.begin - EPOCH) // window.interval
    end = -((EPOCH - window.end) // window.interval)
    numbers: dict[datetime, dict[Status, int]] = {
        EPOCH + place * window.interval: {} for place in range(first, end)
    }
    for bar in bars:
        numbers[bar.start][bar.status] = bar.number
    return numbers
