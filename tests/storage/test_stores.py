"""Every store keeps the same promises."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crewserve.storage.api_keys import SqlApiKeys
from crewserve.storage.audit import SqlAudit
from crewserve.storage.database import Database, open_database
from crewserve.storage.event_log import SqlEventLog
from crewserve.storage.flow_reports import SqlFlowReports
from crewserve.storage.memory import MemoryStore
from crewserve.storage.output import SqlOutput
from crewserve.storage.retention import SqlRetention
from crewserve.storage.sql_reader import SqliteReader, SqlReader
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.workers import SqlWorkers
from crewserve.storage.writer import Writer
from crewserve.testing.contracts import StoreContract
from crewserve.testing.stores import Store


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class AllOnSqlite(
    SqlStore,
    SqliteReader,
    SqlEventLog,
    SqlOutput,
    SqlRetention,
    SqlFlowReports,
    SqlWorkers,
    SqlApiKeys,
    SqlAudit,
):
    def __init__(self, writer: Writer, database: Database) -> None:
        SqliteReader.__init__(self, database.reading)
        SqlStore.__init__(self, writer, database.writing.dialect)
        SqlEventLog.__init__(self, writer, self, database.writing.dialect)
        SqlOutput.__init__(self, writer, self, database.writing.dialect)
        SqlRetention.__init__(self, writer, self, database.reading)
        SqlFlowReports.__init__(self, writer, self, database.writing.dialect)
        SqlWorkers.__init__(self, writer, self, database.writing.dialect)
        SqlApiKeys.__init__(self, writer, self, database.writing.dialect)
        SqlAudit.__init__(self, writer, self, database.writing.dialect)


class AllOnPostgres(
    SqlStore,
    SqlReader,
    SqlEventLog,
    SqlOutput,
    SqlRetention,
    SqlFlowReports,
    SqlWorkers,
    SqlApiKeys,
    SqlAudit,
):
    def __init__(self, writer: Writer, database: Database) -> None:
        SqlReader.__init__(self, database.reading)
        SqlStore.__init__(self, writer, database.writing.dialect)
        SqlEventLog.__init__(self, writer, self, database.writing.dialect)
        SqlOutput.__init__(self, writer, self, database.writing.dialect)
        SqlRetention.__init__(self, writer, self, database.reading)
        SqlFlowReports.__init__(self, writer, self, database.writing.dialect)
        SqlWorkers.__init__(self, writer, self, database.writing.dialect)
        SqlApiKeys.__init__(self, writer, self, database.writing.dialect)
        SqlAudit.__init__(self, writer, self, database.writing.dialect)


@contextmanager
def opened(
    kind: type[AllOnSqlite] | type[AllOnPostgres], database: Database
) -> Iterator[AllOnSqlite | AllOnPostgres]:
    database.migrate()
    writer = Writer(database.writing)
    writer.start()
    store = kind(writer, database)
    yield store
    writer.close()
    store.close()
    database.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with opened(AllOnSqlite, open_database(None, tmp_path / "test.db")) as store:
            yield store


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres_url: str, tmp_path: Path) -> Iterator[Store]:
        with opened(AllOnPostgres, open_database(postgres_url, tmp_path)) as store:
            yield store
