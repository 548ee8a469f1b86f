"""Numbers of executions on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from crewserve.domain.failure import FailureCode
from crewserve.domain.query import Count, Grouping
from crewserve.domain.status import Status
from crewserve.protocol.times import WireTime


def _is_unset(value: object) -> bool:
    return value is None


class CountBody(BaseModel):
    """Executions that are alike in what they were grouped by."""

    status: Status | None = Field(None, exclude_if=_is_unset)
    flow_name: str | None = Field(None, exclude_if=_is_unset)
    error_code: FailureCode | None = Field(
        None, exclude_if=_is_unset, description="Absent for those that did not fail."
    )
    count: int


class CountList(BaseModel):
    """All that was found."""

    total: int
    counts: list[CountBody] = Field(description="The most frequent first.")


class BarBody(BaseModel):
    """One interval."""

    start: WireTime
    total: int
    by_status: dict[Status, int] = Field(description="How those that were created then are now.")


class Histogram(BaseModel):
    """Every interval of the window, also those in which nothing was."""

    interval: str
    bars: list[BarBody] = Field(description="The oldest first.")


def count_list(counts: Sequence[Count], by: Sequence[Grouping]) -> CountList:
    """*counts* on the wire."""
    bodies = [
        CountBody.model_validate({**dict(zip(by, one.of, strict=True)), "count": one.number})
        for one in counts
    ]
    return CountList(total=sum(one.number for one in counts), counts=bodies)


def histogram(interval: str, numbers: Mapping[datetime, Mapping[Status, int]]) -> Histogram:
    """*numbers* on the wire."""
    bars = [
        BarBody(start=start, total=sum(found.values()), by_status=dict(found))
        for start, found in numbers.items()
    ]
    return Histogram(interval=interval, bars=bars)
