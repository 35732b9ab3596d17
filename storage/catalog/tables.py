"""The catalogue's tables. The migrations make what stands here, and a test compares them.

A column's `key` is the attribute's name in `storage.catalog.rows`; times are `Instant`s there and milliseconds
since the epoch in the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text, TypeDecorator

from domain.clock import Instant

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class Milliseconds(TypeDecorator[Instant]):
    """An `Instant` as a whole number of milliseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Instant | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Instant | None:
        """From the database."""
        return None if value is None else Instant(value)


metadata = MetaData()

_ID = String(200)

segments = Table(
    "segments",
    metadata,
    Column("key", String(1024), primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("feed_id", _ID, nullable=False),
    Column("policy", _ID, nullable=False),
    Column("from_ms", Milliseconds, key="from_at", nullable=False),
    Column("to_ms", Milliseconds, key="to_at", nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("version_id", _ID, nullable=False),
    Column("codec", _ID, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("fragments", Integer, nullable=False),
    Column("retain_until_ms", Milliseconds, key="retain_until", nullable=False),
    Column("stored_at_ms", Milliseconds, key="stored_at", nullable=False),
    Column("announced", Boolean, nullable=False),
    Column("deleted_ms", Milliseconds, key="deleted_at"),
    Index("segments_by_time", "recorder_id", "from_at", "key"),
    Index("segments_by_session", "recorder_id", "session_id", "from_at", "key"),
    Index("segments_by_feed", "recorder_id", "feed_id", "first_seq"),
    Index("segments_by_lock", "retain_until", "key"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("key", String(1024), primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("policy", _ID, nullable=False),
    Column("from_ms", Milliseconds, key="from_at", nullable=False),
    Column("to_ms", Milliseconds, key="to_at", nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("version_id", _ID, nullable=False),
    Column("media", String(8), nullable=False),
    Column("via", String(16), nullable=False),
    Column("delivered_ms", Milliseconds, key="delivered_at", nullable=False),
    Column("stored_at_ms", Milliseconds, key="stored_at", nullable=False),
    Column("retain_until_ms", Milliseconds, key="retain_until", nullable=False),
    Column("overlap_ms", BigInteger, nullable=False),
    Column("deleted_ms", Milliseconds, key="deleted_at"),
    Index("uploads_by_time", "recorder_id", "from_at", "key"),
    Index("uploads_by_session", "recorder_id", "session_id", "from_at", "key"),
    Index("uploads_by_lock", "retain_until", "key"),
    Index("uploads_by_hash", "recorder_id", "sha256"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("recorder_id", _ID, primary_key=True),
    Column("session_id", _ID, primary_key=True),
    Column("opened_ms", Milliseconds, key="opened_at", nullable=False),
    Column("act", _ID),
    Column("unbroken", Boolean, nullable=False),
    Column("remote", Boolean, nullable=False),
    Column("ended_ms", Milliseconds, key="ended_at"),
    Column("completed_ms", Milliseconds, key="completed_at"),
    Index("sessions_by_time", "opened_at", "recorder_id", "session_id"),
)

findings = Table(
    "findings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID),
    Column("began_ms", Milliseconds, key="began_at", nullable=False),
    Column("detected_ms", Milliseconds, key="detected_at", nullable=False),
    Column("stage", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("findings_by_time", "began_at", "id"),
    Index("findings_by_recorder", "recorder_id", "began_at", "id"),
)

readings = Table(
    "readings",
    metadata,
    Column("recorder_id", _ID, primary_key=True),
    Column("hour_ms", Milliseconds, key="hour_at", primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Index("readings_by_time", "hour_at"),
)

marks = Table(
    "marks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("at_ms", Milliseconds, key="at", nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Index("marks_by_time", "recorder_id", "at", "id"),
)

recorders = Table(
    "recorders",
    metadata,
    Column("recorder_id", _ID, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("policy", _ID, nullable=False),
    Column("registered_at_ms", Milliseconds, key="registered_at", nullable=False),
    Column("state", String(16), nullable=False),
    Column("site_id", _ID),
    Column("name", _ID),
    Column("expects_audio", Boolean, nullable=False),
    Column("continuous", Boolean, nullable=False),
    Column("last_seen_at_ms", Milliseconds, key="last_seen_at"),
    Column("last_media_at_ms", Milliseconds, key="last_media_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("at_ms", Milliseconds, key="at", nullable=False),
    Column("retention_class", String(16), nullable=False),
    Column("by", _ID, nullable=False),
    Column("reason", Text, nullable=False),
    Column("document", _ID),
    Column("case_number", _ID, key="case"),
    Column("closed_ms", Milliseconds, key="closed_at"),
    Column("keep_until_ms", Milliseconds, key="keep_until"),
    Index("decisions_by_session", "recorder_id", "session_id", "at", "id"),
)

holds = Table(
    "holds",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID),
    Column("object_key", String(1024), key="key"),
    Column("from_ms", Milliseconds, key="from_at"),
    Column("to_ms", Milliseconds, key="to_at"),
    Column("origin", String(16), nullable=False),
    Column("ref", _ID),
    Column("by", _ID, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", Milliseconds, key="at", nullable=False),
    Index("holds_by_recorder", "recorder_id", "at", "id"),
)

releases = Table(
    "releases",
    metadata,
    Column("hold_id", String(32), primary_key=True),
    Column("at_ms", Milliseconds, key="at", nullable=False),
    Column("by", _ID, nullable=False),
    Column("reason", Text, nullable=False),
)

expiries = Table(
    "expiries",
    metadata,
    Column("object_key", String(1024), key="key", primary_key=True),
    Column("recorder_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("retention_class", String(16), nullable=False),
    Column("due_ms", Milliseconds, key="due_at", nullable=False),
    Column("listed_ms", Milliseconds, key="listed_at", nullable=False),
    Column("decided_ms", Milliseconds, key="decided_at"),
    Column("by", _ID),
    Column("reason", Text),
    Column("document", _ID),
    Column("again_ms", Milliseconds, key="again_at"),
    Index("expiries_by_state", "state", "listed_at", "key"),
    Index("expiries_by_session", "recorder_id", "session_id", "key"),
)

places = Table(
    "places",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
)
