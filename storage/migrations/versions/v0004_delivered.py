"""Files that were delivered later end as segments do."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for it."""
    op.add_column("uploads", sa.Column("deleted_ms", sa.BigInteger))
    op.create_index("uploads_by_session", "uploads", ["recorder_id", "session_id", "from_ms", "key"])
    op.create_index("uploads_by_lock", "uploads", ["retain_until_ms", "key"])


def downgrade() -> None:
    """Forget it."""
    op.drop_index("uploads_by_lock", "uploads")
    op.drop_index("uploads_by_session", "uploads")
    op.drop_column("uploads", "deleted_ms")
