import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, text

from crewserve.domain.errors import StorageUnavailable, ValueRefused
from crewserve.storage.sqlite import open_sqlite, open_sqlite_for_writing
from crewserve.storage.writer import Writer


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    engine = open_sqlite_for_writing(tmp_path / "test.db")
    with engine.begin() as connection:
        connection.execute(text("create table t (n integer primary key)"))
    writer = Writer(engine)
    writer.start()
    yield writer
    writer.close()
    engine.dispose()


def insert(number: int) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        connection.execute(text(f"insert into t values ({number})"))

    return run


def count(connection: Connection) -> int:
    return int(connection.execute(text("select count(*) from t")).scalar_one())


def test_writes_that_wait_share_one_commit(writer: Writer, tmp_path: Path) -> None:
    commits: list[int] = []
    held, go = Event(), Event()

    def hold(_: Connection) -> None:
        held.set()
        assert go.wait(10)

    first = writer.submit(hold)
    assert held.wait(10)
    changes = [writer.submit(lambda c: commits.append(id(c.get_transaction()))) for _ in range(20)]
    go.set()
    for future in (first, *changes):
        future.result(10)
    assert len(commits) == 20
    assert len(set(commits)) == 1


def test_nothing_is_told_before_others_can_read_it(writer: Writer, tmp_path: Path) -> None:
    reading = open_sqlite(tmp_path / "test.db")
    for number in range(20):
        writer.submit(insert(number)).result(10)
        with reading.connect() as connection:
            assert count(connection) == number + 1
    reading.dispose()


def test_a_database_error_is_told_as_unavailable_storage(writer: Writer) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        writer.submit(lambda c: c.execute(text("insert into missing values (1)"))).result(10)
    assert "missing" in str(caught.value.__cause__)


def test_a_value_that_the_database_never_takes_is_told_apart(writer: Writer) -> None:
    def insert_too_much(connection: Connection) -> None:
        database: Any = connection.connection.driver_connection
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        connection.execute(text("insert into t values (:value)"), {"value": "x" * 2000})

    other = writer.submit(insert(1))
    with pytest.raises(ValueRefused, match="too big"):
        writer.submit(insert_too_much).result(10)
    other.result(10)


def test_closing_commits_what_was_asked_for_and_refuses_the_rest(writer: Writer) -> None:
    futures = [writer.submit(insert(number)) for number in range(50)]
    writer.close()
    assert all(future.done() for future in futures)
    with pytest.raises(StorageUnavailable):
        writer.submit(count).result(0)


async def test_cancelling_who_waits_harms_neither_the_write_nor_later_ones(writer: Writer) -> None:
    held, go = Event(), Event()

    def hold(_: Connection) -> None:
        held.set()
        assert go.wait(10)

    blocking, waiting = writer.submit(hold), writer.submit(insert(1))
    waiter = asyncio.ensure_future(asyncio.wrap_future(waiting))
    await asyncio.to_thread(held.wait, 10)
    waiter.cancel()
    await asyncio.wait([waiter])
    go.set()
    blocking.result(10)
    waiting.result(10)
    assert writer.submit(count).result(10) == 1
