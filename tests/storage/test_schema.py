from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Engine, MetaData, Table, inspect, text

from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import FlowName, QueueName, WorkerName
from crewserve.domain.policy import Policy
from crewserve.storage import migrations, schema
from crewserve.storage.database import Database, DatabaseUnusable
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.sqlite import open_sqlite
from crewserve.storage.tables import executions, metadata
from crewserve.storage.writer import Writer
from crewserve.testing.builders import NOW, a_new_id

FOLDER: Final = str(Path(migrations.__file__ or "").parent)

FIRST: Final[dict[str, Any]] = {
    "id": a_new_id(),
    "flow": "poem_flow",
    "driver": "worker",
    "status": "pending",
    "inputs": {"sentence_count": 3},
    "created_at": NOW,
    "available_at": NOW,
    "attempt": 0,
    "max_attempts": 1,
    "fence": 0,
}
"""A row of the first schema."""


@pytest.fixture
def engine(empty_database: Database) -> Engine:
    return empty_database.writing


def upgrade(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", FOLDER)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def insert_into_first_schema(engine: Engine) -> None:
    """With the column types of today: those that both schemas have are the same."""
    found = Table("executions", MetaData(), autoload_with=engine)
    for column in found.columns:
        if column.name in executions.c:
            column.type = executions.c[column.name].type
    with engine.begin() as connection:
        connection.execute(found.insert(), FIRST)


def test_migrations_lead_to_the_tables_of_the_code(engine: Engine) -> None:
    schema.migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        found = {one["name"] for one in inspect(connection).get_check_constraints("executions")}
    expected = {one.name for one in executions.constraints if isinstance(one, CheckConstraint)}
    assert found == {str(name) for name in expected}


def test_the_newest_migration_is_the_one_the_code_names() -> None:
    assert ScriptDirectory(FOLDER).get_current_head() == schema.HEAD


async def test_rows_of_the_first_schema_are_kept(empty_database: Database) -> None:
    upgrade(empty_database.writing, "0001")
    insert_into_first_schema(empty_database.writing)
    empty_database.migrate()
    reader = empty_database.reader()
    kept = await reader.get(FIRST["id"])
    reader.close()
    assert (kept.inputs, kept.created_at, kept.attempt) == (FIRST["inputs"], NOW, 0)
    assert (kept.policy, kept.parent) == (Policy(max_attempts=1, retry_on=frozenset()), None)
    assert (kept.accepts_changes, kept.cancel) == (False, None)
    assert kept.turn == Turn(queue=QueueName("poem_flow"))


def test_what_was_pending_in_the_first_schema_is_let_in_and_claimed(
    empty_database: Database,
) -> None:
    upgrade(empty_database.writing, "0001")
    insert_into_first_schema(empty_database.writing)
    empty_database.migrate()
    writer = Writer(empty_database.writing)
    writer.start()
    store, flows = SqlStore(writer, empty_database.writing.dialect), [FlowName("poem_flow")]
    assert store.let_in(limit=1, now=NOW).result(10) is None
    claim = store.claim(WorkerName("a"), flows=flows, limit=1, lease_expires_at=NOW, now=NOW)
    assert [one.id for one in claim.result(10)] == [FIRST["id"]]
    writer.close()


def test_processes_that_start_together_migrate_once(opening: Callable[[], Database]) -> None:
    databases = [opening() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Database.migrate, databases))
    for database in databases:
        database.close()


def test_a_database_of_a_newer_version_is_left_alone(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.writing.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseUnusable, match="9999"):
        empty_database.migrate()


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    engine = open_sqlite(tmp_path / "test.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2  # FULL
    engine.dispose()
