"""`/api/v1/executions/count` and `/histogram`: how many there are, of what, and when."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from crewserve.application.charts import Window
from crewserve.domain.query import Grouping
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.filters import ExecutionFilterQuery, some_of
from crewserve.http.problems import responses
from crewserve.protocol.statistics import CountList, Histogram, count_list, histogram

router = APIRouter()

INTERVALS: Final = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
MAX_BARS: Final = 1000
USUAL_BARS: Final = 60


class CountQuery(ExecutionFilterQuery):
    group_by: str | None = Field(
        None,
        pattern=some_of(Grouping),
        description="Some of `status`, `flow_name`, `error_code`, separated by commas.",
        examples=["status,flow_name"],
    )

    @property
    def groupings(self) -> list[Grouping]:
        names = self.group_by.split(",") if self.group_by else []
        return [Grouping(name) for name in dict.fromkeys(names)]


class HistogramQuery(ExecutionFilterQuery):
    interval: Literal["minute", "hour", "day"] = "hour"

    def window(self, now: datetime) -> Window:
        interval = INTERVALS[self.interval]
        end = self.created_before or now
        begin = self.created_from or end - USUAL_BARS * interval
        return Window(begin, min(end, begin + MAX_BARS * interval), interval)


@router.get(
    "/count", response_model=CountList, responses=responses(HTTPStatus.UNPROCESSABLE_ENTITY)
)
async def count_executions(found: Annotated[CountQuery, Query()], state: StateDep) -> Response:
    """How many executions there are of each kind, the most frequent first."""
    counts = await state.executions.count(found.filter(), found.groupings)
    return json_answer(count_list(counts, found.groupings))


@router.get(
    "/histogram", response_model=Histogram, responses=responses(HTTPStatus.UNPROCESSABLE_ENTITY)
)
async def executions_over_time(
    found: Annotated[HistogramQuery, Query()], state: StateDep
) -> Response:
    """How many executions were created when, and how they are now.

    Without `created_before` it ends now, without `created_from` it has 60 intervals. Of a longer
    window than 1,000 intervals it shows the first.
    """
    window = found.window(state.executions.clock())
    numbers = await state.executions.chart(found.filter(), window)
    return json_answer(histogram(found.interval, numbers))
