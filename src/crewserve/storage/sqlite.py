"""Opening the SQLite database."""

import fcntl
import os
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
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    if _journal_mode(connection) != "wal":
        _turn_to_wal(connection)


def _journal_mode(connection: SqliteConnection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _turn_to_wal(connection: SqliteConnection) -> None:
    """One at a time: two that begin together do not wait for each other, but fail as busy.

    The folder is locked, as closing a descriptor of the database would drop SQLite's own locks.
    """
    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL").close()  # only of an empty file
        connection.execute("PRAGMA journal_mode=WAL").close()
    finally:
        os.close(folder)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
