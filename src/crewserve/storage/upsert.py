"""Inserts that may meet a row of the same key."""

from typing import TYPE_CHECKING

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def replacing_insert(dialect: Dialect, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """The row that comes takes the place of the one with its primary key."""
    return replacing(dialect_insert(dialect, table), table)


def dialect_insert(dialect: Dialect, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An insert that knows ``ON CONFLICT``."""
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # others start faster

    return postgresql.insert(table)


def replacing(
    statement: "sqlite.Insert | postgresql.Insert", table: Table
) -> "sqlite.Insert | postgresql.Insert":
    """*statement*, so that its rows take the place of those with the same primary keys."""
    key = table.primary_key.columns.keys()
    new = {name: column for name, column in statement.excluded.items() if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=new)
