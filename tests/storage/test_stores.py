"""Every store keeps the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crewserve.storage.memory import MemoryStore
from crewserve.storage.schema import migrate
from crewserve.storage.sql_reader import SqliteReader
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.sqlite import open_sqlite, open_sqlite_for_writing
from crewserve.storage.writer import Writer
from crewserve.testing.contracts import Store, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class SqliteStore(SqlStore, SqliteReader):
    def __init__(self, writer: Writer, reader: SqliteReader) -> None:
        SqlStore.__init__(self, writer, reader._engine.dialect)
        self.__dict__.update(reader.__dict__ | self.__dict__)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        writing = open_sqlite_for_writing(tmp_path / "test.db")
        reading = open_sqlite(tmp_path / "test.db")
        migrate(writing)
        writer, reader = Writer(writing), SqliteReader(reading)
        writer.start()
        yield SqliteStore(writer, reader)
        writer.close()
        reader.close()
        writing.dispose()
        reading.dispose()
