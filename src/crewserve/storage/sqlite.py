"""Opening the SQLite database."""

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

BUSY_SECONDS: Final = 10
"""How long a write waits for a writer in another process before it fails."""


def open_sqlite(path: Path) -> Engine:
    """An engine to read *path*, a file that is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        pool_size=4,
    )
    event.listen(engine, "connect", _configure)
    return engine


def open_sqlite_for_writing(path: Path) -> Engine:
    """An engine whose transactions take the write lock when they begin.

    Else one that reads first would fail when another process wrote meanwhile (SQLITE_BUSY).
    """
    engine = open_sqlite(path)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: SqliteConnection, _: Any) -> None:
    """WAL: nobody waits for readers. FULL: a commit returns when it is on the disk.

    https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    connection.isolation_level = None  # transactions begin where `_begin` says, not by guess
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
