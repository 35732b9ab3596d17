"""What a day looked like: readings of devices, and what was said of stops."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.String(200)


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "readings",
        sa.Column("recorder_id", _ID, primary_key=True),
        sa.Column("hour_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("readings_by_time", "readings", ["hour_ms"])
    op.create_table(
        "marks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("marks_by_time", "marks", ["recorder_id", "at_ms", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("marks")
    op.drop_table("readings")
