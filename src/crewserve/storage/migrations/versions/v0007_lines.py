"""Queues, priorities, lanes and places in line."""

import sqlalchemy as sa
from alembic import op

from crewserve.storage.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("queue", sa.Text, nullable=False, server_default=""),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("concurrency_key", sa.Text, nullable=False, server_default=""),
        sa.Column("max_running", sa.Integer),
        sa.Column("standing", sa.String(8)),
        sa.Column("place", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("executions", column)
    # The timer lets in what is pending, one by one, and so gives them their places.
    op.execute(
        "update executions set queue = flow, standing = case when driver = 'worker' then "
        "case status when 'pending' then 'early' when 'running' then 'taken' end end"
    )
    op.create_table(
        "paused_queues",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("paused_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_paused_queues"),
    )
    _replace_indexes()


def _replace_indexes() -> None:
    line: list[str | sa.TextClause] = ["standing", sa.text("priority desc"), "place"]
    for name, columns, where in (
        ("line", [*line, "id"], "standing is not null"),
        ("lane", ["flow", "concurrency_key", *line], "standing is not null"),
        ("early", ["standing", "available_at"], "standing = 'early'"),
    ):
        op.create_index(
            f"ix_executions_{name}",
            "executions",
            columns,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.drop_index("ix_executions_claimable", "executions")
