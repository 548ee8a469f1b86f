"""The audit log in a list."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from crewserve.domain.audit import AuditEntry, AuditQuery
from crewserve.domain.ids import AuditId

T = TypeVar("T")


class MemoryAudit:
    """`AuditLog`, as part of a store that has transactions."""

    _audit: dict[AuditId, AuditEntry]

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    def add_audit_entry(self, entry: AuditEntry) -> Future[None]:
        def run() -> None:
            self._audit.setdefault(entry.id, entry)

        return self._transaction(run)

    async def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        newest = sorted(self._audit.values(), key=lambda entry: entry.id, reverse=True)
        return [entry for entry in newest if _matches(entry, query)][: query.limit]


def _matches(entry: AuditEntry, query: AuditQuery) -> bool:
    if query.after is not None and entry.id >= query.after:
        return False
    wanted = {name: getattr(query, name) for name in ("actor", "action", "target", "tenant")}
    return all(value in (None, getattr(entry, name)) for name, value in wanted.items())
