"""What somebody wants to know of many executions."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from crewserve.domain.failure import FailureCode
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.labels import Label
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Whence intervals are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFilter:
    """Which executions. What is None or empty does not filter."""

    realm: Realm | None = None
    """Set by readers, to their own."""
    flow: FlowName | None = None
    statuses: frozenset[Status] = frozenset()
    codes: frozenset[FailureCode] = frozenset()
    """Failed with one of these."""
    error_text: str | None = None
    """Part of the error's message, in any case of letters."""
    created_from: datetime | None = None
    created_before: datetime | None = None
    labels: frozenset[Label] = frozenset()
    """With all of these."""
    attempt: int | None = None
    min_attempt: int | None = None
    min_cost: int | None = None
    """In nano-dollars. Who has used nothing, or whose cost is not known, has neither."""
    max_cost: int | None = None
    model: str | None = None
    """That has asked this one, as `Spender.model`."""


class Order(StrEnum):
    """Named as on the wire."""

    NEWEST = "newest_first"
    OLDEST = "oldest_first"
    COSTLIEST = "costliest_first"
    """Only those that have a cost, as `CHEAPEST`."""
    CHEAPEST = "cheapest_first"

    @property
    def is_by_cost(self) -> bool:
        return self in (Order.COSTLIEST, Order.CHEAPEST)

    @property
    def is_rising(self) -> bool:
        return self in (Order.OLDEST, Order.CHEAPEST)


class Place(NamedTuple):
    """Where an execution is, in any order."""

    cost: int
    """0 where there is none."""
    id: ExecutionId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery(ExecutionFilter):
    """One page of them."""

    limit: int = 100
    order: Order = Order.NEWEST
    after: Place | None = None
    """Only what follows it in that order: the last of the page before."""
    results: bool = True
    """Whether the flows' results are wanted, which may be large."""


class Grouping(StrEnum):
    """What executions can be counted by; named as on the wire."""

    STATUS = "status"
    FLOW = "flow_name"
    CODE = "error_code"


class Count(NamedTuple):
    """How many executions are alike."""

    of: tuple[str | None, ...]
    """Their values, in the order of the groupings that were asked for."""
    number: int


class Bar(NamedTuple):
    """How many executions of one status were created in one interval."""

    start: datetime
    """Whole intervals after `EPOCH`."""
    status: Status
    number: int
