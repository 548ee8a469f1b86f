"""What executions used."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _amounts(*, nullable: bool) -> list["sa.Column[int]"]:
    calls = [
        sa.Column(name, sa.Integer, nullable=nullable) for name in ("model_calls", "tool_calls")
    ]
    tokens = [
        sa.Column(f"{kind}_tokens", sa.BigInteger, nullable=nullable)
        for kind in ("prompt", "cached", "completion", "reasoning")
    ]
    return [*calls, *tokens, sa.Column("cost", sa.BigInteger)]


def upgrade() -> None:
    for column in _amounts(nullable=True):
        op.add_column("executions", column)
    op.create_table(
        "usage",
        sa.Column("execution", sa.Uuid, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("step", "agent", "model")),
        *_amounts(nullable=False),
        sa.ForeignKeyConstraint(["execution"], ["executions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("execution", "step", "agent", "model", name="pk_usage"),
        sqlite_with_rowid=False,
    )
