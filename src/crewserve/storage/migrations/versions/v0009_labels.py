"""Tags and metadata of executions."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import JsonValue

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("labels", JsonValue))
    op.create_table(
        "labels",
        sa.Column("execution", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["execution"], ["executions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("execution", "name", "value", name="pk_labels"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_labels_name_value_execution", "labels", ["name", "value", sa.text("execution desc")]
    )
