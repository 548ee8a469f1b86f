"""Bringing a database to the schema that this version expects."""

import logging
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

HEAD: Final = "0001"
"""The newest migration. Kept here so that a start with nothing to do needs no Alembic."""

log = logging.getLogger(__name__)


class NewerDatabase(Exception):
    """The database was migrated by a newer version of crewserve."""


def migrate(engine: Engine) -> None:
    """Run the missing migrations. Processes that start together wait for each other.

    Raises: NewerDatabase.
    """
    with engine.begin() as connection:
        found = _revision(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise NewerDatabase(
                f"The database has schema {found}; this version of crewserve knows up to {HEAD}"
            )
        _upgrade(connection)
        log.info("Migrated the database from schema %s to %s", found or "none", HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("select version_num from alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # 0.3 s that most starts save
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
