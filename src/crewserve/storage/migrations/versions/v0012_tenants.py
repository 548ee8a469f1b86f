"""Whose executions are."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant = sa.Column("tenant", sa.Text, nullable=False, server_default="default")
    op.add_column("executions", tenant)
    op.execute("update idempotency_keys set scope = 'default' where scope = ''")
    for columns in (["flow"], ["status"], ["flow", "status"]):
        _replace_index(columns)
    op.create_index("ix_executions_tenant_id", "executions", ["tenant", "id"])
    failed = sa.text("failure_code is not null")
    for columns in (["failure_code"], ["flow", "failure_code"]):
        _replace_index(columns, sqlite_where=failed, postgresql_where=failed)


def _replace_index(columns: list[str], **options: Any) -> None:
    name = "_".join([*columns, "id"])
    op.drop_index(f"ix_executions_{name}", "executions")
    all_columns = ["tenant", *columns, "id"]
    op.create_index(f"ix_executions_tenant_{name}", "executions", all_columns, **options)
