"""Remembering who did what, and telling those who operate the server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from crewserve.domain.audit import Action, AuditEntry, AuditQuery
from crewserve.domain.ids import AuditId, Tenant
from crewserve.domain.principal import Principal
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.ports import AuditLog, Clock

CLI: Final = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditing:
    """For one who acts."""

    log: AuditLog
    new_id: Callable[[], AuditId]
    clock: Clock
    actor: str = CLI
    tenant: Tenant = DEFAULT_TENANT

    def of(self, principal: Principal) -> "Auditing":
        """The same for somebody else."""
        return replace(self, actor=principal.name, tenant=principal.tenant)

    async def note(self, action: Action, target: str, **details: Any) -> None:
        """It was done. Returns when that is durable. Raises: StorageUnavailable."""
        entry = AuditEntry(
            id=self.new_id(),
            at=self.clock(),
            tenant=self.tenant,
            actor=self.actor,
            action=action,
            target=target,
            details=details,
        )
        await asyncio.wrap_future(self.log.add_audit_entry(entry))

    async def page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """Of all tenants."""
        return await self.log.audit_entries(query)
