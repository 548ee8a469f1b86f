"""Announcements of pending executions, and what workers report of flows."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("dispatched_at", UtcDateTime))
    op.add_column(
        "executions", sa.Column("dispatches", sa.Integer, nullable=False, server_default="0")
    )
    op.create_table(
        "flows",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("health", sa.String(16), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("input_schema", JsonValue),
        sa.Column("graph", JsonValue),
        sa.Column("digest", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("reported_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_flows"),
    )
