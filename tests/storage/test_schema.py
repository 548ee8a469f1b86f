from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from crewserve.storage import migrations, schema
from crewserve.storage.sqlite import open_sqlite_for_writing
from crewserve.storage.tables import executions, metadata


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_sqlite_for_writing(tmp_path / "deep" / "folder" / "test.db")
    yield engine
    engine.dispose()


def test_migrations_lead_to_the_tables_of_the_code(engine: Engine) -> None:
    schema.migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        found = connection.execute(
            text("select sql from sqlite_master where name = 'executions'")
        ).scalar_one()
    names = {str(constraint.name) for constraint in executions.constraints}
    assert all(name in found for name in names)


def test_the_newest_migration_is_the_one_the_code_names() -> None:
    folder = str(Path(migrations.__file__ or "").parent)
    assert ScriptDirectory(folder).get_current_head() == schema.HEAD


def test_processes_that_start_together_migrate_once(engine: Engine, tmp_path: Path) -> None:
    engines = [open_sqlite_for_writing(tmp_path / "deep/folder/test.db") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(schema.migrate, engines))
    for other in engines:
        other.dispose()


def test_a_database_of_a_newer_version_is_left_alone(engine: Engine) -> None:
    schema.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(schema.NewerDatabase, match="9999"):
        schema.migrate(engine)


def test_commits_survive_a_power_cut(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2  # FULL
