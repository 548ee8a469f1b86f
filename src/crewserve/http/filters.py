"""What the query of a request says about which executions are meant."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil, floor
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from crewserve.domain.failure import FailureCode
from crewserve.domain.ids import FlowName
from crewserve.domain.query import EPOCH, ExecutionFilter
from crewserve.domain.status import Status
from crewserve.domain.usage import NANO
from crewserve.protocol.labels import LabelQuery
from crewserve.protocol.times import GivenTime
from crewserve.protocol.usage import MAX_DOLLARS

LAST_TIME = datetime(9000, 1, 1, tzinfo=UTC)
MAX_INTEGER: Final = 2**31 - 1


def _possible(time: datetime) -> datetime:
    """Nothing was created before or after, and sums of these are still times."""
    return min(max(time, EPOCH), LAST_TIME)


Possible = Annotated[GivenTime, AfterValidator(_possible)]


Dollars = Annotated[
    Decimal,
    Field(ge=0, le=MAX_DOLLARS),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MAX_DOLLARS}),
]


def some_of(names: Iterable[str]) -> str:
    """A pattern for some of *names*, separated by commas."""
    one = f"({'|'.join(sorted(names))})"
    return f"^{one}(,{one})*$"


class ExecutionFilterQuery(LabelQuery):
    """Filters narrow each other down; anything else in the query is refused."""

    flow_name: str | None = Field(None, max_length=100, examples=["poem_flow"])
    status: list[Status] = Field([], max_length=20, description="One of these, if several.")
    error_code: list[FailureCode] = Field(
        [], max_length=20, description="Failed with one of these."
    )
    error_text: str | None = Field(
        None, min_length=1, max_length=200, description="Part of the error, in any case of letters."
    )
    created_from: Possible | None = Field(None, description="ISO 8601 with an offset, or `Z`.")
    created_before: Possible | None = None
    attempt: int | None = Field(None, ge=0, le=MAX_INTEGER, description="1 for the first try.")
    min_attempt: int | None = Field(None, ge=0, le=MAX_INTEGER)
    min_cost: Dollars | None = Field(None, description="Of those whose cost is known, in dollars.")
    max_cost: Dollars | None = None
    model: str | None = Field(
        None, max_length=200, description="Has asked it.", examples=["openai/gpt-4o-mini"]
    )

    def fields_of_filter(self) -> dict[str, Any]:
        """Of an `ExecutionFilter`."""
        return {
            "flow": None if self.flow_name is None else FlowName(self.flow_name),
            "statuses": frozenset(self.status),
            "codes": frozenset(self.error_code),
            "error_text": self.error_text,
            "created_from": self.created_from,
            "created_before": self.created_before,
            "labels": frozenset(self.labels.each()),
            "attempt": self.attempt,
            "min_attempt": self.min_attempt,
            "min_cost": None if self.min_cost is None else ceil(self.min_cost * NANO),
            "max_cost": None if self.max_cost is None else floor(self.max_cost * NANO),
            "model": self.model,
        }

    def filter(self) -> ExecutionFilter:
        return ExecutionFilter(**self.fields_of_filter())
