"""The schema. Shapes only: behaviour lives in `domain`."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from crewserve.storage.types import JsonValue, UtcDateTime

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

executions: Final = Table(
    "executions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("driver", String(8), nullable=False),
    Column("status", String(16), nullable=False),
    Column("inputs", JsonValue, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_owner", String(200)),
    Column("lease_expires_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("result", JsonValue),
    Column("failure_code", String(32)),
    Column("failure_message", Text),
    Column("failure_type", String(200)),
    Column("failure_step", String(200)),
    Column("failure_traceback", Text),
    CheckConstraint("(lease_owner is null) = (lease_expires_at is null)", name="lease_is_whole"),
    CheckConstraint("status != 'running' or lease_owner is not null", name="running_is_held"),
)

Index("ix_executions_flow_id", executions.c.flow, executions.c.id)
Index("ix_executions_status_id", executions.c.status, executions.c.id)
Index("ix_executions_flow_status_id", executions.c.flow, executions.c.status, executions.c.id)

CLAIMABLE: Final = text("status = 'pending' and driver = 'worker'")
"""Claims say it in these very words, so that the database sees that the partial index fits."""

Index(
    "ix_executions_claimable",
    executions.c.status,  # always pending here; SQLite prefers an index that it can compare with
    executions.c.available_at,
    executions.c.id,
    sqlite_where=CLAIMABLE,
    postgresql_where=CLAIMABLE,
)
_HELD = text("lease_expires_at is not null")
Index(
    "ix_executions_lease",
    executions.c.lease_expires_at,
    sqlite_where=_HELD,
    postgresql_where=_HELD,
)
