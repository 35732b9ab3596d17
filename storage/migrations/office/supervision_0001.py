"""First tables of supervision: draws, results of checks, leads."""

import sqlalchemy as sa
from alembic import op

revision = "supervision_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "check_draws",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("check_id", sa.String(64), nullable=False),
        sa.Column("unit_id", sa.String(200), nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=False),
        sa.Column("drawn_at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("check_draws_by_time", "check_draws", ["drawn_at_ms", "id"])
    op.create_table(
        "check_results",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("draw_id", sa.String(32), nullable=False),
        sa.Column("item", sa.String(300), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("check_results_by_draw", "check_results", ["draw_id", "number"])
    op.create_table(
        "leads",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("reference", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("unit_id", sa.String(200), nullable=False),
        sa.Column("assignee", sa.String(200), nullable=False),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "reference", name="leads_once"),
    )
    op.create_index("leads_by_state", "leads", ["state", "due_ms"])


def downgrade() -> None:
    """Drop them."""
    for table in ("leads", "check_results", "check_draws"):
        op.drop_table(table)
