"""The schema. Shapes only: behaviour lives in `domain`."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
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


def _amounts(*, nullable: bool) -> list["Column[int]"]:
    """What was used; see `domain.usage.Usage`."""
    calls = [Column(name, Integer, nullable=nullable) for name in ("model_calls", "tool_calls")]
    tokens = [
        Column(f"{kind}_tokens", BigInteger, nullable=nullable)
        for kind in ("prompt", "cached", "completion", "reasoning")
    ]
    return [*calls, *tokens, Column("cost", BigInteger)]


executions: Final = Table(
    "executions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("tenant", Text, nullable=False, server_default="default"),
    Column("driver", String(8), nullable=False),
    Column("status", String(16), nullable=False),
    Column("inputs", JsonValue, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("attempt", Integer, nullable=False),
    Column("policy", JsonValue, nullable=False),
    Column("parent", Uuid),
    Column("accepts_changes", Boolean, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_expires_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("cancel_grace_seconds", Float),
    Column("cancel_reason", Text),
    Column("result", JsonValue),
    Column("failure_code", String(32)),
    Column("failure_message", Text),
    Column("failure_type", Text),
    Column("failure_step", Text),
    Column("failure_traceback", Text),
    Column("dispatched_at", UtcDateTime),
    Column("dispatches", Integer, nullable=False, server_default="0"),
    Column("queue", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("concurrency_key", Text, nullable=False, server_default=""),
    Column("max_running", Integer),
    Column("labels", JsonValue),
    Column("standing", String(8)),
    Column("place", BigInteger, nullable=False, server_default="0"),
    *_amounts(nullable=True),
    CheckConstraint("(lease_owner is null) = (lease_expires_at is null)", name="lease_is_whole"),
    CheckConstraint("status != 'running' or lease_owner is not null", name="running_is_held"),
)

for _columns in ((), ("flow",), ("status",), ("flow", "status")):
    Index(
        "_".join(("ix_executions_tenant", *_columns, "id")),
        *(executions.c[column] for column in ("tenant", *_columns, "id")),
    )

_FAILED = text("failure_code is not null")
for _columns in (("failure_code",), ("flow", "failure_code")):
    Index(
        "_".join(("ix_executions_tenant", *_columns, "id")),
        *(executions.c[column] for column in ("tenant", *_columns, "id")),
        sqlite_where=_FAILED,
        postgresql_where=_FAILED,
    )

_COSTS = text("cost is not null")
for _columns in (("cost",), ("flow", "cost")):
    Index(
        "_".join(("ix_executions_tenant", *_columns, "id")),
        *(executions.c[column] for column in ("tenant", *_columns, "id")),
        sqlite_where=_COSTS,
        postgresql_where=_COSTS,
    )

CLAIMABLE: Final = text("standing = 'ready'")

_STANDS = text("standing is not null")
Index(
    "ix_executions_line",
    executions.c.standing,
    executions.c.priority.desc(),
    executions.c.place,
    executions.c.id,
    sqlite_where=_STANDS,
    postgresql_where=_STANDS,
)
Index(
    "ix_executions_lane",
    executions.c.flow,
    executions.c.concurrency_key,
    executions.c.standing,
    executions.c.priority.desc(),
    executions.c.place,
    sqlite_where=_STANDS,
    postgresql_where=_STANDS,
)

IS_EARLY: Final = text("standing = 'early'")
"""Said in these very words, so that the database sees that the partial index fits."""

Index(
    "ix_executions_early",
    executions.c.standing,  # always early here; SQLite prefers an index that it can compare with
    executions.c.available_at,
    sqlite_where=IS_EARLY,
    postgresql_where=IS_EARLY,
)
_HELD = text("lease_expires_at is not null")
Index(
    "ix_executions_lease",
    executions.c.lease_expires_at,
    sqlite_where=_HELD,
    postgresql_where=_HELD,
)

paused_queues: Final = Table(
    "paused_queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("paused_at", UtcDateTime, nullable=False),
)

labels: Final = Table(
    "labels",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""Those of the column of the same name, to be found by."""

Index("ix_labels_name_value_execution", labels.c.name, labels.c.value, labels.c.execution.desc())

attempts: Final = Table(
    "attempts",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("fence", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("outcome", String(16)),
    Column("code", String(32)),
    Column("error", Text),
)

steps: Final = Table(
    "steps",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("call", Integer, nullable=False),
    Column("result", JsonValue),
    Column("state", JsonValue),
    Column("problem", Text),
    Column("digest", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("step", Text),
    Column("id", Text),
    Column("parent", Text),
    Column("data", JsonValue, nullable=False),
    sqlite_with_rowid=False,  # an execution's entries lie together, in order
)

usage: Final = Table(
    "usage",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    *_amounts(nullable=False),
    Index("ix_usage_model_execution", "model", "execution"),
    sqlite_with_rowid=False,
)

logs: Final = Table(
    "logs",
    metadata,
    Column("execution", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stream", String(8), nullable=False),
    Column("text", Text, nullable=False),
    Column("step", Text),
    Column("level", String(8)),
    Column("logger", Text),
    sqlite_with_rowid=False,
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("execution", Uuid, nullable=False),  # no reference: it outlives what it started
    Column("flow", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

flows: Final = Table(
    "flows",
    metadata,
    Column("name", Text, primary_key=True),
    Column("ref", Text, nullable=False),
    Column("health", String(16), nullable=False),
    Column("description", Text),
    Column("input_schema", JsonValue),
    Column("graph", JsonValue),
    Column("digest", String(64)),
    Column("error", Text),
    Column("traceback", Text),
    Column("worker", Text, nullable=False),
    Column("reported_at", UtcDateTime, nullable=False),
)

workers: Final = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("engine", String(16), nullable=False),
    Column("flows", JsonValue, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("drain_requested_at", UtcDateTime),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("scopes", JsonValue, nullable=False),
    Column("flows", JsonValue, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
)

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("target", Text, nullable=False),
    Column("details", JsonValue, nullable=False),
    Index("ix_audit_log_actor_id", "actor", "id"),
    Index("ix_audit_log_action_id", "action", "id"),
)
