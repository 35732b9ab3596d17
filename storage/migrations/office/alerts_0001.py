"""First tables of the alerts."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("group_key", sa.String(300), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("family", sa.String(20), nullable=False),
        sa.Column("site_id", sa.String(200), nullable=False),
        sa.Column("unit_id", sa.String(200), nullable=False),
        sa.Column("assignee", sa.String(200), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("wake_at_ms", sa.BigInteger, index=True),
        sa.Column("change", sa.BigInteger, nullable=False, index=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Index("alerts_newest", "opened_at_ms", "id"),
    )
    op.create_table(
        "alert_findings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("alert_id", sa.String(32), nullable=False, index=True),
        sa.Column("recorder_id", sa.String(200), nullable=False, index=True),
        sa.Column("detected_at_ms", sa.BigInteger, nullable=False),
        sa.Column("named_in", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "alert_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("alert_id", sa.String(32), nullable=False, index=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "alert_changes",
        sa.Column("name", sa.String(20), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert_routes",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False, index=True),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("maintenance", "alert_routes", "alert_changes", "alert_history", "alert_findings", "alerts"):
        op.drop_table(table)
