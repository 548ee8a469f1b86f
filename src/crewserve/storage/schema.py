"""Bringing a database to the schema that this version expects."""

import logging
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
)

HEAD: Final = "0015"
"""The newest migration. Kept here so that a start with nothing to do needs no Alembic."""

_LOCK: Final = int.from_bytes(b"crewserv")
"""The number of our advisory lock in a PostgreSQL database."""

log = logging.getLogger(__name__)


class NewerDatabase(Exception):
    """The database was migrated by a newer version of crewserve."""


def migrate(engine: Engine) -> None:
    """Run the missing migrations. Processes that start together wait for each other.

    Raises: NewerDatabase.
    """
    with engine.begin() as connection:
        _wait_for_others(connection)
        found = _revision(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise NewerDatabase(
                f"The database has schema {found}; this version of crewserve knows up to {HEAD}"
            )
        _upgrade(connection)
        log.info("Migrated the database from schema %s to %s", found or "none", HEAD)


VERSION: Final[Select[Any]] = select(literal_column("version_num")).select_from(
    table("alembic_version")
)


def _wait_for_others(connection: Connection) -> None:
    """SQLite's transactions do so by themselves. What is set here ends with the transaction."""
    if connection.dialect.name == "postgresql":
        for name in ("statement_timeout", "lock_timeout"):  # a large table takes what it takes
            connection.execute(text(f"set local {name} = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(VERSION).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # 0.3 s that most starts save
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
