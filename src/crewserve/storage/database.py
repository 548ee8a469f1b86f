"""The database that is configured, whichever it is."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from crewserve.storage.schema import NewerDatabase, migrate
from crewserve.storage.sql_reader import SqliteReader, SqlReader
from crewserve.storage.sqlite import open_sqlite, open_sqlite_for_writing
from crewserve.storage.telling import told


class DatabaseUnusable(Exception):
    """Its text is one line, and never contains the URL, which may have a password in it."""


@dataclass(frozen=True, slots=True)
class Database:
    """Not connected before it is used."""

    writing: Engine
    reading: Engine

    def migrate(self) -> None:
        """Bring it to the schema of this version. Raises: DatabaseUnusable."""
        try:
            migrate(self.writing)
        except NewerDatabase as error:
            raise DatabaseUnusable(str(error)) from error
        except DBAPIError as error:
            raise DatabaseUnusable(told(error)) from error

    def reader(self) -> SqlReader:
        """To be closed before the database is."""
        kind = SqliteReader if self.reading.dialect.name == "sqlite" else SqlReader
        return kind(self.reading)

    def close(self) -> None:
        self.writing.dispose()
        self.reading.dispose()


def open_database(url: str | None, path: Path) -> Database:
    """PostgreSQL at *url*; without one, SQLite at *path*. Raises: DatabaseUnusable."""
    if not url:
        return Database(open_sqlite_for_writing(path), open_sqlite(path))
    try:
        from crewserve.storage import postgres  # noqa: PLC0415  # its driver is an extra
    except ModuleNotFoundError as error:
        message = "PostgreSQL needs a driver: pip install 'crewserve[postgres]'"
        raise DatabaseUnusable(message) from error
    try:
        parsed = postgres.parse_url(url)
    except postgres.WrongDatabaseUrl as error:
        raise DatabaseUnusable(str(error)) from error
    return Database(postgres.open_postgres_for_writing(parsed), postgres.open_postgres(parsed))
