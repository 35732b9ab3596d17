"""First table of the explanations."""

import sqlalchemy as sa
from alembic import op

revision = "explanations_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "explanations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("recorder_id", sa.String(200), nullable=False),
        sa.Column("session_id", sa.String(200), nullable=False),
        sa.Column("stopped_at_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(200), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("written_at_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger),
        sa.Column("reviewed_by", sa.String(200)),
        sa.Column("reviewed_at_ms", sa.BigInteger),
        sa.Column("remark", sa.Text),
        sa.Column("published_at_ms", sa.BigInteger),
    )
    op.create_index("explanations_by_stop", "explanations", ["recorder_id", "session_id", "stopped_at_ms"])
    op.create_index("explanations_by_state", "explanations", ["state", "written_at_ms"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("explanations")
