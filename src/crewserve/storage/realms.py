"""Whose executions a statement may see: the one place where SQL knows of tenants."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, select

from crewserve.domain.ids import ExecutionId
from crewserve.domain.realm import Realm
from crewserve.storage.tables import executions

Conditions = Sequence[ColumnElement[bool]]


def in_realm(realm: Realm | None) -> Conditions:
    """Of an execution."""
    if realm is None:
        return ()
    tenant = executions.c.tenant == realm.tenant
    if not realm.flows:
        return (tenant,)
    return (tenant, executions.c.flow.in_(sorted(realm.flows)))


def belongs_to_realm(execution_id: ExecutionId, realm: Realm | None) -> Conditions:
    """Of a row that belongs to that execution."""
    if realm is None:
        return ()
    owned = select(executions.c.id).where(executions.c.id == execution_id, *in_realm(realm))
    return (exists(owned),)
