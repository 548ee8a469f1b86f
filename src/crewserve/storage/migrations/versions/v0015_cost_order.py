"""Executions in the order of what they cost, and those that asked a model."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, columns in {
        "ix_executions_tenant_cost_id": ["tenant", "cost", "id"],
        "ix_executions_tenant_flow_cost_id": ["tenant", "flow", "cost", "id"],
    }.items():
        op.create_index(
            name,
            "executions",
            columns,
            sqlite_where=sa.text("cost is not null"),
            postgresql_where=sa.text("cost is not null"),
        )
    op.create_index("ix_usage_model_execution", "usage", ["model", "execution"])
