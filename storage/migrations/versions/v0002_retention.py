"""Classes, holds, expiry lists, and how far the ledger has been followed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.String(200)


def upgrade() -> None:
    """Make them."""
    op.add_column("segments", sa.Column("deleted_ms", sa.BigInteger))
    op.create_index("segments_by_lock", "segments", ["retain_until_ms", "key"])
    _decisions()
    _holds()
    _expiries()
    op.create_table(
        "places",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("retention_class", sa.String(16), nullable=False),
        sa.Column("by", _ID, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("document", _ID),
        sa.Column("case_number", _ID),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("keep_until_ms", sa.BigInteger),
    )
    op.create_index("decisions_by_session", "decisions", ["recorder_id", "session_id", "at_ms", "id"])


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID),
        sa.Column("object_key", sa.String(1024)),
        sa.Column("from_ms", sa.BigInteger),
        sa.Column("to_ms", sa.BigInteger),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("ref", _ID),
        sa.Column("by", _ID, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("holds_by_recorder", "holds", ["recorder_id", "at_ms", "id"])
    op.create_table(
        "releases",
        sa.Column("hold_id", sa.String(32), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", _ID, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _expiries() -> None:
    op.create_table(
        "expiries",
        sa.Column("object_key", sa.String(1024), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("retention_class", sa.String(16), nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("listed_ms", sa.BigInteger, nullable=False),
        sa.Column("decided_ms", sa.BigInteger),
        sa.Column("by", _ID),
        sa.Column("reason", sa.Text),
        sa.Column("document", _ID),
        sa.Column("again_ms", sa.BigInteger),
    )
    op.create_index("expiries_by_state", "expiries", ["state", "listed_ms", "object_key"])
    op.create_index("expiries_by_session", "expiries", ["recorder_id", "session_id", "object_key"])


def downgrade() -> None:
    """Drop them."""
    for table in ("places", "expiries", "releases", "holds", "decisions"):
        op.drop_table(table)
    op.drop_index("segments_by_lock", "segments")
    op.drop_column("segments", "deleted_ms")
