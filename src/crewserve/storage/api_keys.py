"""API keys on a SQL database."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Row, bindparam, or_, select, update

from crewserve.domain.access_errors import ApiKeyNotFound
from crewserve.domain.api_key import ApiKey
from crewserve.domain.ids import KeyId
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.tables import api_keys
from crewserve.storage.upsert import replacing_insert
from crewserve.storage.writer import Writer

_id: Final = api_keys.c.id
_revoked_at: Final = api_keys.c.revoked_at
_used_at: Final = api_keys.c.last_used_at

_END = update(api_keys).where(
    _id == bindparam("key"), or_(_revoked_at.is_(None), _revoked_at > bindparam("ended"))
)
END: Final = _END.values(revoked_at=bindparam("ended"))

_USE = update(api_keys).where(
    _id == bindparam("key"), or_(_used_at.is_(None), _used_at < bindparam("used"))
)
USE: Final = _USE.values(last_used_at=bindparam("used"))


class SqlApiKeyReader:
    """`ApiKeyReader`."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    async def api_key(self, key_id: KeyId) -> ApiKey:
        rows = await self._reader.rows(select(api_keys).where(_id == key_id))
        if not rows:
            raise ApiKeyNotFound(key_id)
        return _to_key(rows[0])

    async def api_keys(self, *, limit: int, after: KeyId | None = None) -> Sequence[ApiKey]:
        statement = select(api_keys).order_by(_id).limit(limit)
        if after is not None:
            statement = statement.where(_id > after)
        return [_to_key(row) for row in await self._reader.rows(statement)]


class SqlApiKeys(SqlApiKeyReader):
    """`ApiKeyStore` on whatever database *writer* writes to and *reader* reads."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        super().__init__(reader)
        self._writer = writer
        self._insert_key = replacing_insert(dialect, api_keys)

    def add_api_key(self, key: ApiKey) -> Future[None]:
        row = _to_row(key)

        def run(connection: Connection) -> None:
            connection.execute(self._insert_key, row)

        return self._writer.submit(run)

    def end_api_key(self, key_id: KeyId, *, at: datetime) -> Future[ApiKey]:
        def run(connection: Connection) -> ApiKey | ApiKeyNotFound:
            connection.execute(END, {"key": key_id, "ended": at})
            row = connection.execute(select(api_keys).where(_id == key_id)).one_or_none()
            return ApiKeyNotFound(key_id) if row is None else _to_key(row)

        return self._writer.submit(run)

    def note_uses(self, uses: Mapping[KeyId, datetime]) -> Future[None]:
        rows = [{"key": key_id, "used": used} for key_id, used in uses.items()]

        def run(connection: Connection) -> None:
            if rows:
                connection.execute(USE, rows)

        return self._writer.submit(run)


def _to_row(key: ApiKey) -> Mapping[str, Any]:
    row = {one.name: getattr(key, one.name) for one in fields(key)}
    return {**row, "scopes": sorted(key.scopes), "flows": sorted(key.flows)}


def _to_key(row: "Row[Any]") -> ApiKey:
    """*row* has all columns of `api_keys`."""
    return ApiKey(
        **{**row._asdict(), "scopes": frozenset(row.scopes), "flows": frozenset(row.flows)}
    )
