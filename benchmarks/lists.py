"""What lists cost among 1,000 and among 1,000,000 executions: `python -m benchmarks.lists`."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert

from benchmarks.load import percentile
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Grouping
from crewserve.domain.realm import DEFAULT_TENANT, Realm
from crewserve.domain.status import Status
from crewserve.ports import ExecutionReader
from crewserve.storage.database import Database, open_database
from crewserve.storage.mapping import to_row
from crewserve.storage.tables import executions
from deploy.postgres import PostgresServer

Job = Callable[[], Awaitable[object]]

SIZES: Final = (1_000, 1_000_000)
TIMES: Final = 50
BATCH: Final = 10_000
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
CODES: Final = list(FailureCode)
POEM: Final = FlowName("flow_3")

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "all": {},
    "one flow": {"flow": POEM},
    "failed": {"statuses": frozenset({Status.FAILED})},
    "a flow's failed and cancelled": {
        "flow": POEM,
        "statuses": frozenset({Status.FAILED, Status.CANCELLED}),
    },
    "timeouts": {"codes": frozenset({FailureCode.TIMEOUT})},
    "error text": {"error_text": "no. 7"},
    "a minute": {"created_from": BEGIN, "created_before": BEGIN + timedelta(minutes=1)},
}


def _row(number: int) -> dict[str, Any]:
    """One second after the other; a tenth has failed."""
    moment = BEGIN + timedelta(milliseconds=100 * number)
    identity = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | number
    status = Status.CANCELLED if number % 50 == 1 else Status.COMPLETED
    failure = None
    if number % 10 == 0:
        code = CODES[number // 10 % len(CODES)]
        status, failure = Status.FAILED, Failure(code=code, message=f"no. {number % 70}")
    execution = Execution(
        id=ExecutionId(UUID(int=identity)),
        flow=FlowName(f"flow_{number % 20}"),
        status=status,
        inputs={"topic": "the sea", "number": number},
        created_at=moment,
        available_at=moment,
        started_at=moment,
        completed_at=moment,
        attempt=1,
        fence=1,
        result=None if failure else {"poem": "the sea " * 20},
        failure=failure,
    )
    return dict(to_row(execution))


def _fill(database: Database, begin: int, end: int) -> None:
    database.migrate()
    for first in range(begin, end, BATCH):
        with database.writing.begin() as connection:
            rows = [_row(number) for number in range(first, min(first + BATCH, end))]
            connection.execute(insert(executions), rows)
    if database.writing.dialect.name == "postgresql":
        with database.writing.connect().execution_options(isolation_level="AUTOCOMMIT") as it:
            it.exec_driver_sql("vacuum analyze executions")


async def _measure(reader: ExecutionReader, size: int) -> dict[str, float]:
    """p99 in ms of the first page of each kind, of one in the middle, and of counts."""
    middle = ExecutionId(_row(size // 2)["id"])
    jobs: dict[str, Job] = {
        f"page: {name}": partial(reader.page, ExecutionQuery(**fields))
        for name, fields in FILTERS.items()
    }
    jobs["page in the middle"] = partial(reader.page, ExecutionQuery(after=middle))
    jobs["one execution"] = partial(reader.get, middle)
    times = {name: await _times(job, TIMES) for name, job in jobs.items()}
    by, everything = [Grouping.STATUS, Grouping.FLOW], ExecutionFilter()
    times["count of all"] = await _times(partial(reader.count, everything, by), 5)
    times["histogram of all"] = await _times(partial(reader.bars, everything, timedelta(days=1)), 5)
    return {name: percentile(found, 0.99) for name, found in times.items()}


async def _times(job: Job, count: int) -> Sequence[float]:
    await job()
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await job()
        found.append((time.perf_counter() - began) * 1000)
    return found


@contextmanager
def _database(kind: str) -> Iterator[Database]:
    server = PostgresServer() if kind == "PostgreSQL" else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if server is not None:
                server.create().start()
            database = open_database(server.url if server else None, Path(folder) / "lists.db")
            yield database
            database.close()
        finally:
            if server is not None:
                server.remove()


def main() -> None:
    for kind in ("SQLite", "PostgreSQL"):
        with _database(kind) as database:
            found, before = [], 0
            for size in SIZES:
                _fill(database, before, size)
                before = size
                reader = database.reader().within(Realm(tenant=DEFAULT_TENANT))
                found.append(asyncio.run(_measure(reader, size)))
                reader.close()
        print(f"\n| {kind}, p99 in ms | {SIZES[0]:,} | {SIZES[1]:,} | ratio |\n|---|--:|--:|--:|")
        for name, small in found[0].items():
            large = found[1][name]
            print(f"| {name} | {small:.2f} | {large:.2f} | {large / small:.1f} |", flush=True)


if __name__ == "__main__":
    main()
