"""Who asks, and what that one may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from crewserve.domain.access_errors import ScopeMissing
from crewserve.domain.ids import FlowName, KeyId, Tenant
from crewserve.domain.realm import DEFAULT_TENANT, Realm


class Scope(StrEnum):
    """What a key may be good for, besides the flows that it may execute; see `execute_scope`."""

    READ = "executions:read"
    WRITE = "executions:write"
    """Retry, fork and delete."""
    CANCEL = "executions:cancel"
    RESPOND = "feedback:respond"
    METRICS = "metrics:read"
    ADMIN = "admin"
    """Everything, and the server itself: keys, workers, queues. It is for those who operate it."""


ANY_FLOW: Final = "*"

SCOPE_PATTERN: Final = rf"^({'|'.join(sorted(Scope))}|flows:(\*|[A-Za-z0-9_.-]{{1,100}}):execute)$"


def execute_scope(flow: str) -> str:
    """For starting executions of *flow*, or of `ANY_FLOW`."""
    return f"flows:{flow}:execute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody with rights."""

    tenant: Tenant = DEFAULT_TENANT
    scopes: frozenset[str]
    flows: frozenset[FlowName] = frozenset()
    """The only ones that exist for this one; none: all of them."""
    key: KeyId | None = None
    """None for those who need none."""

    @property
    def name(self) -> str:
        """For the audit log."""
        return self.key or ("this machine" if self == ANYBODY else "token")

    @property
    def realm(self) -> Realm:
        """What exists for it."""
        return Realm(tenant=self.tenant, flows=self.flows)

    @property
    def is_admin(self) -> bool:
        """Whether this one operates the server."""
        return Scope.ADMIN in self.scopes

    def has(self, scope: str) -> bool:
        """Whether the scope was given, or one that includes it."""
        return scope in self.scopes or self.is_admin

    def may_execute(self, flow: FlowName) -> bool:
        """Whether it may start executions of *flow*."""
        has_scope = self.has(execute_scope(flow)) or self.has(execute_scope(ANY_FLOW))
        return has_scope and self.realm.has_flow(flow)

    def check_execute(self, flow: FlowName) -> None:
        """Raises: ScopeMissing."""
        if not self.may_execute(flow):
            raise ScopeMissing(execute_scope(flow))


NOBODY: Final = Principal(tenant=Tenant(""), scopes=frozenset())
"""Whoever asks what anybody may know. Nothing exists there."""

ANYBODY: Final = Principal(scopes=frozenset({Scope.ADMIN}))
"""Whoever reaches a server that asks for no key."""
