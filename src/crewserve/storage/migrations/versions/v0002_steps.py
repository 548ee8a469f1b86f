"""Attempts, recorded steps, retries and cancels."""

import json

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ONCE = json.dumps(
    {"max_attempts": 1, "retry_on": [], "backoff_seconds": 1.0, "timeout_seconds": None}
)
"""What executions of before were accepted with."""


def upgrade() -> None:
    for column in (
        sa.Column("policy", JsonValue, nullable=False, server_default=ONCE),
        sa.Column("parent", sa.Uuid),
        sa.Column("accepts_changes", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("cancel_grace_seconds", sa.Float),
        sa.Column("cancel_reason", sa.Text),
    ):
        op.add_column("executions", column)
    op.drop_column("executions", "max_attempts")
    _create_attempts()
    _create_steps()


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("execution", sa.Uuid, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("outcome", sa.String(16)),
        sa.Column("code", sa.String(32)),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("execution", "fence", name="pk_attempts"),
        sa.ForeignKeyConstraint(["execution"], ["executions.id"], ondelete="CASCADE"),
    )


def _create_steps() -> None:
    op.create_table(
        "steps",
        sa.Column("execution", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("call", sa.Integer, nullable=False),
        sa.Column("result", JsonValue),
        sa.Column("state", JsonValue),
        sa.Column("problem", sa.Text),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("execution", "position", name="pk_steps"),
        sa.ForeignKeyConstraint(["execution"], ["executions.id"], ondelete="CASCADE"),
    )
