"""First table of the releases of holds."""

import sqlalchemy as sa
from alembic import op

revision = "releases_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "hold_releases",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hold_id", sa.String(32), nullable=False),
        sa.Column("recorder_id", sa.String(200), nullable=False),
        sa.Column("session_id", sa.String(200)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.Column("remark", sa.Text),
    )
    op.create_index("hold_releases_by_hold", "hold_releases", ["hold_id", "asked_at_ms"])
    op.create_index("hold_releases_by_state", "hold_releases", ["state", "asked_at_ms"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("hold_releases")
