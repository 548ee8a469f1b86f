"""A SQLite file does not keep the room of what was forgotten, and one host at a time forgets."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crewserve.domain.execution import Execution
from crewserve.domain.status import Status
from crewserve.storage.database import Database, open_database
from crewserve.storage.retention import SqlRetention
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.writer import Writer
from crewserve.testing.builders import an_execution

ROUNDS, EACH = 5, 60


def pragma(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"pragma {name}").scalar_one())


def large() -> Execution:
    return an_execution(Status.COMPLETED, result="x" * 50_000)


def test_a_file_stays_as_large_as_what_is_in_it(tmp_path: Path) -> None:
    database = open_database(None, tmp_path / "test.db")
    database.migrate()
    assert pragma(database.writing, "auto_vacuum") == 2
    writer = Writer(database.writing)
    writer.start()
    reader = database.reader()
    store = SqlStore(writer, database.writing.dialect)
    retention = SqlRetention(writer, reader, database.reading)
    empty, sizes = pragma(database.reading, "page_count"), []
    for _ in range(ROUNDS):
        added = [large() for _ in range(EACH)]
        for execution in added:
            store.add(execution).result(10)
        full = pragma(database.reading, "page_count")
        while retention.forget([one.id for one in added], most=100).result(10):
            pass
        while retention.reclaim(pages=100).result(10):
            pass
        sizes.append((full, pragma(database.reading, "page_count")))
    assert all(full > empty + EACH * 10 for full, _ in sizes)
    assert all(after < empty + 50 for _, after in sizes), sizes
    writer.close()
    reader.close()
    database.close()


def test_a_file_without_it_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table old (column_of_it)")
    old = open_database(None, path)
    old.migrate()
    assert pragma(old.writing, "auto_vacuum") == 0
    writer = Writer(old.writing)
    writer.start()
    reader = old.reader()
    retention = SqlRetention(writer, reader, old.reading)
    assert retention.reclaim(pages=100).result(10) is False
    writer.close()
    reader.close()
    old.close()


@pytest.fixture
def two(postgres_url: str, tmp_path: Path) -> list[Database]:
    databases = [open_database(postgres_url, tmp_path) for _ in range(2)]
    databases[0].migrate()
    return databases


async def test_of_two_hosts_one_forgets(two: list[Database]) -> None:
    writers = [Writer(one.writing) for one in two]
    readers = [one.reader() for one in two]
    ann, bob = (
        SqlRetention(writer, reader, one.reading)
        for writer, reader, one in zip(writers, readers, two, strict=True)
    )
    async with ann.alone() as first:
        assert first
        async with bob.alone() as second:
            assert not second
    async with bob.alone() as third:
        assert third
    for reader, database in zip(readers, two, strict=True):
        reader.close()
        database.close()
