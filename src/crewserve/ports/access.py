"""Who may do what."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from crewserve.domain.api_key import ApiKey
from crewserve.domain.audit import AuditEntry, AuditQuery
from crewserve.domain.ids import KeyId


class ApiKeyReader(Protocol):
    """What is kept of keys."""

    async def api_key(self, key_id: KeyId) -> ApiKey:
        """Raises: ApiKeyNotFound."""
        ...

    async def api_keys(self, *, limit: int, after: KeyId | None = None) -> Sequence[ApiKey]:
        """By id."""
        ...


class ApiKeyWriter(Protocol):
    """Futures are those of `ExecutionStore`. Doing any of it again changes nothing."""

    def add_api_key(self, key: ApiKey) -> Future[None]: ...

    def end_api_key(self, key_id: KeyId, *, at: datetime) -> Future[ApiKey]:
        """Let it count no more from then on, if it does so long. Raises: ApiKeyNotFound."""
        ...

    def note_uses(self, uses: Mapping[KeyId, datetime]) -> Future[None]:
        """When each was used last; unknown ones are nothing."""
        ...


class AuditWriter(Protocol):
    """Futures are those of `ExecutionStore`. Doing any of it again changes nothing."""

    def add_audit_entry(self, entry: AuditEntry) -> Future[None]: ...


class AuditLog(AuditWriter, Protocol):
    """Both sides."""

    async def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]: ...


class ApiKeyStore(ApiKeyReader, ApiKeyWriter, Protocol):
    """Both sides."""
