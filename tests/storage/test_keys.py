"""Idempotency keys where processes and crashes come in; the rest is in the contract."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack

import pytest
from sqlalchemy import Connection

from crewserve.domain.errors import CrewserveError, KeyTaken, StorageUnavailable
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId
from crewserve.storage import keys
from crewserve.storage.database import Database
from crewserve.storage.prepared import Prepared
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.writer import Writer
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.idempotency import KEY

SECONDS = 20


@pytest.fixture
def stores(opening: Callable[[], Database]) -> Iterator[list[SqlStore]]:
    """Those of four processes, on one database."""
    with ExitStack() as stack:
        found = []
        for _ in range(4):
            database = opening()
            stack.callback(database.close)
            database.migrate()
            writer = Writer(database.writing)
            writer.start()
            stack.callback(writer.close)
            found.append(SqlStore(writer, database.writing.dialect))
        yield found


def error_of(future: "Future[Sequence[ExecutionId]]") -> type[BaseException] | None:
    error = future.exception(SECONDS)
    return None if error is None else type(error)


def test_of_processes_that_meet_one_starts_it(stores: list[SqlStore]) -> None:
    for number in range(20):
        key = IdempotencyKey(value=str(number), fingerprint="0" * 64)
        added = [store.add(an_execution(), key=key) for store in stores]
        found = sorted(map(error_of, added), key=str)
        assert found == [KeyTaken] * 3 + [None]


def test_an_execution_that_was_not_written_leaves_its_key_free(stores: list[SqlStore]) -> None:
    execution = an_execution()
    stores[0].add(execution).result(SECONDS)
    with pytest.raises(StorageUnavailable):  # the same id again
        stores[0].add(execution, key=KEY).result(SECONDS)
    stores[1].add(an_execution(), key=KEY).result(SECONDS)


def test_a_taken_key_writes_nothing(stores: list[SqlStore]) -> None:
    stores[0].add(an_execution(), key=KEY).result(SECONDS)
    second = an_execution()
    with pytest.raises(KeyTaken):
        stores[1].add(second, key=KEY).result(SECONDS)
    with pytest.raises(CrewserveError):
        stores[1].current(second.id).result(SECONDS)


def test_looking_for_old_keys_reads_an_index(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.writing.connect() as connection:
        assert "ix_idempotency_keys_created_at" in plan(connection)


def plan(connection: Connection) -> str:
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.exec_driver_sql("set local enable_seqscan = off")
        connection.exec_driver_sql("set local enable_bitmapscan = off")
        connection.exec_driver_sql("set local enable_sort = off")
    prepared = Prepared(keys.FORGET, connection.dialect)
    explain = "explain query plan" if is_sqlite else "explain"
    bound = prepared.bound({"forgotten": NOW})
    return str(connection.exec_driver_sql(f"{explain} {prepared.sql}", bound).all())
