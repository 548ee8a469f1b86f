"""The audit log on a SQL database, whose table refuses changes."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Dialect, Select, select

from crewserve.domain.audit import Action, AuditEntry, AuditQuery
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.tables import audit_log
from crewserve.storage.upsert import dialect_insert
from crewserve.storage.writer import Writer


class SqlAuditReader:
    """`AuditReader`."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    async def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        rows = await self._reader.rows(audit_statement(query))
        return [AuditEntry(**{**row._asdict(), "action": Action(row.action)}) for row in rows]


class SqlAudit(SqlAuditReader):
    """`AuditLog` on whatever database *writer* writes to and *reader* reads."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        super().__init__(reader)
        self._writer = writer
        self._insert_entry = dialect_insert(dialect, audit_log).on_conflict_do_nothing()

    def add_audit_entry(self, entry: AuditEntry) -> Future[None]:
        row = {one.name: getattr(entry, one.name) for one in fields(entry)}

        def run(connection: Connection) -> None:
            connection.execute(self._insert_entry, row)

        return self._writer.submit(run)


def audit_statement(query: AuditQuery) -> "Select[Any]":
    """Keyset: ids sort by time."""
    statement = select(audit_log).order_by(audit_log.c.id.desc()).limit(query.limit)
    for name in ("actor", "action", "target", "tenant"):
        wanted = getattr(query, name)
        if wanted is not None:
            statement = statement.where(audit_log.c[name] == wanted)
    if query.after is not None:
        statement = statement.where(audit_log.c.id < query.after)
    return statement
