"""Databases to test on: SQLite always, PostgreSQL where there is one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from crewserve.storage.database import Database, open_database
from tests.support import postgres

Opening = Callable[[], Database]


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database. Nobody may be connected to it."""
    name = postgres.new_name()
    database = open_database(postgres.create_database(name, on=postgres_server), Path())
    database.migrate()
    database.close()
    yield name
    postgres.drop_database(name, on=postgres_server)


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A migrated database of its own."""
    name = postgres.new_name()
    yield postgres.create_database(name, on=postgres_server, template=postgres_template)
    postgres.drop_database(name, on=postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the same database at each call, one without tables, on each kind of database."""
    url = request.getfixturevalue("empty_postgres_url") if request.param == "postgresql" else None
    return partial(open_database, url, tmp_path / "deep" / "folder" / "test.db")


@pytest.fixture
def empty_database(opening: Opening) -> Iterator[Database]:
    database = opening()
    yield database
    database.close()
