"""Indexes that find what failed, by its code."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    failed = sa.text("failure_code is not null")
    for columns in (["failure_code", "id"], ["flow", "failure_code", "id"]):
        op.create_index(
            f"ix_executions_{'_'.join(columns)}",
            "executions",
            columns,
            sqlite_where=failed,
            postgresql_where=failed,
        )
