"""First tables of messages, the outbox and the channels by which people are reached."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("alert_id", sa.String(32), nullable=False, index=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("alert_id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("claimed_by", sa.String(200), nullable=False),
        sa.Column("claimed_at_ms", sa.BigInteger),
        sa.Column("channel_id", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("given_up", sa.Text, nullable=False),
        sa.Column("is_doubtful", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Index("outbox_waiting", "state", "not_before_ms"),
        sa.Index("outbox_by_alert", "alert_id", "account_id"),
    )
    op.create_table(
        "notify_channels",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(200), nullable=False, index=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("notify_channels", "outbox", "alert_messages"):
        op.drop_table(table)
