"""What a start costs while 50,000 executions are forgotten: `python -m benchmarks.retention`."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert
from uuid_utils.compat import uuid7

from benchmarks.load import percentile
from crewserve.domain.event_log import Channel
from crewserve.domain.execution import Execution
from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import ExecutionId, FlowName, QueueName
from crewserve.domain.status import Status
from crewserve.storage.database import Database, open_database
from crewserve.storage.files import LocalFiles
from crewserve.storage.mapping import to_row
from crewserve.storage.retention import SqlRetention
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.tables import events, executions
from crewserve.storage.writer import Writer
from crewserve.worker.retention import Keeping, Retention

OLD: Final = 50_000
EVENTS: Final = 10
BATCH: Final = 5_000
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
EVERY_SECONDS: Final = 0.01
SAMPLES: Final = 2_000


def _execution(identity: UUID, moment: datetime, status: Status) -> Execution:
    ended = {"completed_at": moment} if status.is_terminal else {}
    return Execution(
        id=ExecutionId(identity),
        flow=FlowName("poem_flow"),
        status=status,
        inputs={"topic": "the sea"},
        created_at=moment,
        available_at=moment,
        turn=Turn(queue=QueueName("poem_flow")),
        result={"poem": "the sea " * 100} if ended else None,
        **ended,
    )


def _old(number: int) -> Execution:
    moment = BEGIN + timedelta(seconds=number)
    identity = UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | number)
    return _execution(identity, moment, Status.COMPLETED)


def _events_of(execution: Execution) -> list[dict[str, Any]]:
    one = {"execution": execution.id, "type": "llm_call_completed", "channel": Channel.LLM}
    more = {"at": BEGIN, "step": "write", "id": None, "parent": None, "data": {"text": "x" * 200}}
    return [{**one, **more, "sequence": number} for number in range(1, EVENTS + 1)]


def _fill(database: Database) -> None:
    database.migrate()
    for first in range(0, OLD, BATCH):
        old = [_old(number) for number in range(first, first + BATCH)]
        with database.writing.begin() as connection:
            connection.execute(insert(executions), [dict(to_row(one)) for one in old])
            connection.execute(insert(events), [row for one in old for row in _events_of(one)])


async def _starts(store: SqlStore, until: "asyncio.Task[Any] | None") -> Sequence[float]:
    """How long each took, in ms; so many, or until that has ended."""
    times: list[float] = []
    while (until is None and len(times) < SAMPLES) or (until is not None and not until.done()):
        began = time.perf_counter()
        started = _execution(uuid7(), datetime.now(UTC), Status.PENDING)
        await asyncio.wrap_future(store.add(started))
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(EVERY_SECONDS)
    return times


def _report(name: str, times: Sequence[float]) -> float:
    p99 = percentile(times, 0.99)
    print(
        f"{name:10} {len(times):6} starts, p50 {percentile(times, 0.5):7.2f} ms, p99 {p99:7.2f} ms"
    )
    return p99


async def _measure(database: Database, folder: Path) -> None:
    writer = Writer(database.writing)
    writer.start()
    reader = database.reader()
    retention = Retention(
        keeping=Keeping(age=timedelta(days=1)),
        store=SqlRetention(writer, reader, database.reading),
        files=LocalFiles(folder / "executions"),
        archive=None,
        clock=lambda: datetime.now(UTC),
    )
    store = SqlStore(writer, database.writing.dialect)
    without = _report("without", await _starts(store, None))
    began = time.perf_counter()
    sweeping = asyncio.create_task(retention.sweep())
    beside = _report("beside", await _starts(store, sweeping))
    seconds = time.perf_counter() - began
    print(f"forgot {await sweeping:,} in {seconds:.0f} s; ratio of p99: {beside / without:.2f}")
    writer.close()
    reader.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "retention.db"
        database = open_database(None, path)
        _fill(database)
        before = path.stat().st_size
        asyncio.run(_measure(database, folder))
        database.close()
        print(f"file: {before / 2**20:.0f} MiB before, {path.stat().st_size / 2**20:.0f} MiB after")


if __name__ == "__main__":
    main()
