"""The audit log, which takes entries and lets none be changed."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("details", JsonValue, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    for column in ("actor", "action"):
        op.create_index(f"ix_audit_log_{column}_id", "audit_log", [column, "id"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _ON_SQLITE if is_sqlite else _ON_POSTGRESQL:
        op.execute(statement)


_ON_SQLITE = [
    f"create trigger audit_log_no_{event} before {event} on audit_log begin "
    "select raise(abort, 'the audit log is append-only'); end"
    for event in ("update", "delete")
]

_ON_POSTGRESQL = [
    (
        "create function refuse_change_of_audit_log() returns trigger language plpgsql as "
        "$$ begin raise exception 'the audit log is append-only'; end $$"
    ),
    (
        "create trigger audit_log_append_only before update or delete or truncate on audit_log "
        "for each statement execute function refuse_change_of_audit_log()"
    ),
]
