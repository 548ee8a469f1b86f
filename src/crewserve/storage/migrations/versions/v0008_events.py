"""The event log of each execution."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("execution", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("id", sa.Text),
        sa.Column("parent", sa.Text),
        sa.Column("data", JsonValue, nullable=False),
        sa.ForeignKeyConstraint(["execution"], ["executions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("execution", "sequence", name="pk_events"),
        sqlite_with_rowid=False,
    )
