"""First tables: segments, sessions, findings, recorders."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(200)


def upgrade() -> None:
    """Make them."""
    _segments()
    _sessions()
    _findings()
    _recorders()


def _segments() -> None:
    op.create_table(
        "segments",
        sa.Column("key", sa.String(1024), primary_key=True),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("feed_id", _ID, nullable=False),
        sa.Column("policy", _ID, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("version_id", _ID, nullable=False),
        sa.Column("codec", _ID, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("fragments", sa.Integer, nullable=False),
        sa.Column("retain_until_ms", sa.BigInteger, nullable=False),
        sa.Column("stored_at_ms", sa.BigInteger, nullable=False),
        sa.Column("announced", sa.Boolean, nullable=False),
    )
    op.create_index("segments_by_time", "segments", ["recorder_id", "from_ms", "key"])
    op.create_index("segments_by_session", "segments", ["recorder_id", "session_id", "from_ms", "key"])
    op.create_index("segments_by_feed", "segments", ["recorder_id", "feed_id", "first_seq"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("recorder_id", _ID, primary_key=True),
        sa.Column("session_id", _ID, primary_key=True),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
        sa.Column("act", _ID),
        sa.Column("unbroken", sa.Boolean, nullable=False),
        sa.Column("remote", sa.Boolean, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("completed_ms", sa.BigInteger),
    )
    op.create_index("sessions_by_time", "sessions", ["opened_ms", "recorder_id", "session_id"])


def _findings() -> None:
    op.create_table(
        "findings",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("recorder_id", _ID, nullable=False),
        sa.Column("session_id", _ID),
        sa.Column("began_ms", sa.BigInteger, nullable=False),
        sa.Column("detected_ms", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("findings_by_time", "findings", ["began_ms", "id"])
    op.create_index("findings_by_recorder", "findings", ["recorder_id", "began_ms", "id"])


def _recorders() -> None:
    op.create_table(
        "recorders",
        sa.Column("recorder_id", _ID, primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("policy", _ID, nullable=False),
        sa.Column("registered_at_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("site_id", _ID),
        sa.Column("name", _ID),
        sa.Column("expects_audio", sa.Boolean, nullable=False),
        sa.Column("continuous", sa.Boolean, nullable=False),
        sa.Column("last_seen_at_ms", sa.BigInteger),
        sa.Column("last_media_at_ms", sa.BigInteger),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("segments", "sessions", "findings", "recorders"):
        op.drop_table(table)
