"""The executions table."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("flow", sa.Text, nullable=False),
        sa.Column("driver", sa.String(8), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("inputs", JsonValue, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("available_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("completed_at", UtcDateTime),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_expires_at", UtcDateTime),
        sa.Column("cancel_requested_at", UtcDateTime),
        sa.Column("result", JsonValue),
        sa.Column("failure_code", sa.String(32)),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_type", sa.Text),
        sa.Column("failure_step", sa.Text),
        sa.Column("failure_traceback", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.CheckConstraint(
            "(lease_owner is null) = (lease_expires_at is null)",
            name=op.f("ck_executions_lease_is_whole"),
        ),
        sa.CheckConstraint(
            "status != 'running' or lease_owner is not null",
            name=op.f("ck_executions_running_is_held"),
        ),
    )
    _create_indexes()


def _create_indexes() -> None:
    claimable = sa.text("status = 'pending' and driver = 'worker'")
    held = sa.text("lease_expires_at is not null")
    op.create_index("ix_executions_flow_id", "executions", ["flow", "id"])
    op.create_index("ix_executions_status_id", "executions", ["status", "id"])
    op.create_index("ix_executions_flow_status_id", "executions", ["flow", "status", "id"])
    op.create_index(
        "ix_executions_claimable",
        "executions",
        ["status", "available_at", "id"],
        sqlite_where=claimable,
        postgresql_where=claimable,
    )
    op.create_index(
        "ix_executions_lease",
        "executions",
        ["lease_expires_at"],
        sqlite_where=held,
        postgresql_where=held,
    )
