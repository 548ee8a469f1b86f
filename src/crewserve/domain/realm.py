"""What exists for somebody: all else answers as if it were not there."""

from dataclasses import dataclass
from typing import Final

from crewserve.domain.ids import FlowName, Tenant

DEFAULT_TENANT: Final = Tenant("default")
"""Of everybody who needs no key, and of keys that name no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """A tenant's executions, or those of some flows.

    None in its place is for those who run executions, whosever they are.
    """

    tenant: Tenant
    flows: frozenset[FlowName] = frozenset()
    """None: all of them."""

    def has(self, tenant: Tenant, flow: FlowName) -> bool:
        """Whether executions of that kind are in it."""
        return tenant == self.tenant and self.has_flow(flow)

    def has_flow(self, flow: FlowName) -> bool:
        return not self.flows or flow in self.flows
