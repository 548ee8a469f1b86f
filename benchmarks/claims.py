"""What an execution costs the database: `python -m benchmarks.claims [--postgres URL]`.

Statements and time of adding, claiming and finishing one, inside transactions of 200, so without
the flush of a commit; and of a claim while ever more wait. On SQLite the time is this process's
CPU time; on PostgreSQL it is the time until the answer.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, event

from benchmarks.servers import ROOT
from crewserve.domain.execution import Returned
from crewserve.domain.ids import WorkerName
from crewserve.storage.database import open_database
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.tables import executions
from crewserve.testing.builders import an_execution

T = TypeVar("T")

OWNER: Final = WorkerName("benchmark:1:0:00")
BATCH: Final = 200
ROUNDS: Final = 15
PENDING: Final = (100, 100_000)
LEASE: Final = timedelta(minutes=1)


class Straight:
    """A `Writer` that runs each write at once, in the transaction that is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def submit(self, run: Callable[[Connection], T]) -> "Future[T]":
        """The future has its result already."""
        if self._connection is None:
            self._connection = self._engine.connect()
        future: Future[T] = Future()
        future.set_result(run(self._connection))
        return future

    def commit(self) -> None:
        """End the transaction."""
        if self._connection is not None:
            self._connection.commit()
            self._connection.close()
            self._connection = None


class Bench:
    """One database and what was sent to it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.writer: Any = Straight(engine)
        self.store = SqlStore(self.writer, engine.dialect)
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.clock = time.process_time if self.is_sqlite else time.perf_counter
        self.statements = 0
        event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.statements += 1

    def measure(self, name: str, act: Callable[[], Any]) -> None:
        """Prints the statements and the median time of one."""
        times = []
        before = self.statements
        for _ in range(ROUNDS):
            began = self.clock()
            for _ in range(BATCH):
                act()
            times.append((self.clock() - began) / BATCH)
            self.writer.commit()
        statements = (self.statements - before) / ROUNDS / BATCH
        best, median = min(times) * 1e6, statistics.median(times) * 1e6
        print(f"  {name:34} {statements:5.2f} statements  {median:6.0f} us (best {best:.0f})")

    def life(self) -> None:
        """Of plain executions, one after another."""
        claimed: list[Any] = []
        self.measure("add", lambda: self.store.add(an_execution()))
        self.measure("claim", lambda: claimed.append(self.claim()))
        self.measure("finish", lambda: self.finish(claimed.pop()))

    def claim(self) -> Any:
        """One."""
        now = datetime.now(UTC)
        claim = self.store.claim(
            OWNER, flows=["poem_flow"], limit=1, lease_expires_at=now + LEASE, now=now
        )
        [claimed] = claim.result()
        return claimed

    def finish(self, claimed: Any) -> None:
        """It returned something."""
        now = datetime.now(UTC)
        self.store.change(claimed.id, Returned("x"), now=now, fence=claimed.fence)

    def backlog(self) -> None:
        """Adding, claiming and finishing one among ever more that wait."""
        self.store.add(an_execution())
        self.writer.commit()
        waiting = 1
        for count in PENDING:
            self._multiply(count - waiting)
            waiting = count
            self.measure(f"all three, {count:,} pending", self._replace_one)

    def _multiply(self, count: int) -> None:
        """Copies of one that waits, each at its place."""
        series = "generate_series(1, ?) as series(n)"
        new: dict[str, str] = {"id": "gen_random_uuid()", "place": "place + n"}
        if self.is_sqlite:
            series = (
                "(with recursive series(n) as (select 1 union all select n + 1 from series"
                " where n < ?) select n from series)"
            )
            new["id"] = "lower(hex(randomblob(16)))"
        names = executions.c.keys()
        columns = ", ".join(new.get(name, name) for name in names)
        one = "(select * from executions where status = 'pending' limit 1) as one"
        sql = f"insert into executions ({', '.join(names)}) select {columns} from {one}, {series}"
        with self.engine.connect() as connection:
            connection.exec_driver_sql(sql.replace("?", str(count)))
            connection.commit()
        if not self.is_sqlite:
            with self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("vacuum analyze executions")

    def _replace_one(self) -> None:
        self.store.add(an_execution())
        self.finish(self.claim())


def main() -> None:
    """Prints a line for each."""
    parser = argparse.ArgumentParser("python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--postgres", help="URL of an empty database")
    url = parser.parse_args().postgres
    data = ROOT / ".crewserve"
    data.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data) as folder:
        for name, given in (("SQLite", None), ("PostgreSQL", url)):
            if name == "PostgreSQL" and not url:
                continue
            database = open_database(given, Path(folder) / "claims.db")
            database.migrate()
            print(name)
            bench = Bench(database.writing)
            bench.life()
            bench.backlog()
            database.close()


if __name__ == "__main__":
    main()
