"""First table of the requests for footage."""

import sqlalchemy as sa
from alembic import op

revision = "requests_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "requests",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("want", sa.String(16), nullable=False),
        sa.Column("recorder_id", sa.String(200), nullable=False),
        sa.Column("session_id", sa.String(200), nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("packing", sa.String(16), nullable=False),
        sa.Column("packing_note", sa.Text, nullable=False),
        sa.Column("packed_sha256", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("requests_by_time", "requests", ["asked_at_ms", "id"])
    op.create_index("requests_by_state", "requests", ["state", "asked_at_ms"])
    op.create_index("requests_by_person", "requests", ["asked_by", "recorder_id", "state"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("requests")
