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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery(ExecutionFilter):
    """One page of them, by age."""

    limit: int = 100
    oldest_first: bool = False
    after: ExecutionId | None = None
    """Only what follows this one in that order: the last of the page before."""
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
