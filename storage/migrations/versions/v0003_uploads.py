"""Files that were delivered later."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.String(200)


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "uploads",
        sa.Column("key", sa.String(1024), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("policy", _ID, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("version_id", _ID, nullable=False),
        sa.Column("media", sa.String(8), nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("delivered_ms", sa.BigInteger, nullable=False),
        sa.Column("stored_at_ms", sa.BigInteger, nullable=False),
        sa.Column("retain_until_ms", sa.BigInteger, nullable=False),
        sa.Column("overlap_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("uploads_by_time", "uploads", ["recorder_id", "from_ms", "key"])
    op.create_index("uploads_by_hash", "uploads", ["recorder_id", "sha256"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("uploads")
