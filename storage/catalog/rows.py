"""What the catalogue takes and gives: plain rows, times as `Instant`."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from domain.clock import Instant
from domain.events import Kind

T = TypeVar("T")


class RecorderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A recorder as registered, and when it was last heard. Holds no address and no token.

    Attributes:
        recorder_id: Its id.
        kind: What it is.
        policy: Name of its jurisdiction's policy.
        registered_at: Of the registration that counts; an older one changes nothing.
        state: Its registration's state; `active` where it came as an event alone.
        site_id: Premises or unit.
        name: What people call it.
        expects_audio: Silence on its audio track is worth a finding.
        continuous: Recording is expected at all times.
        last_seen_at: Newest thing heard from it.
        last_media_at: Newest capture time received from it.
    """

    recorder_id: str
    kind: Kind
    policy: str
    registered_at: Instant
    state: str = "active"
    site_id: str | None = None
    name: str | None = None
    expects_audio: bool = False
    continuous: bool = False
    last_seen_at: Instant | None = None
    last_media_at: Instant | None = None


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A duty, act or camera day.

    Attributes:
        recorder_id: Whose.
        session_id: Its id, unique within the recorder.
        opened_at: When it was opened; the end's time where only the end is known.
        act: Procedure being recorded.
        unbroken: The policy forbids any stop in it.
        remote: The officer is away from the unit.
        ended_at: When the system learnt of its end; None while open.
        completed_at: Recording completed; deadlines run from it.
    """

    recorder_id: str
    session_id: str
    opened_at: Instant
    act: str | None = None
    unbroken: bool = False
    remote: bool = False
    ended_at: Instant | None = None
    completed_at: Instant | None = None


class SegmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stored object.

    Attributes:
        key: Object key.
        recorder_id: Whose footage.
        session_id: Of which session.
        feed_id: Over which connection it came.
        policy: Policy in force when it was stored.
        from_at: Capture time of its first access unit.
        to_at: Capture time of its end.
        bytes: Size of the object.
        sha256: Of the object.
        version_id: Version that was written; empty where the store has none.
        codec: Codecs of its tracks, picture first.
        first_seq: First fragment in it.
        last_seq: Last fragment in it; none between is missing.
        fragments: How many: `last_seq - first_seq + 1`.
        retain_until: Locked until then.
        stored_at: When it was written.
    """

    key: str
    recorder_id: str
    session_id: str
    feed_id: str
    policy: str
    from_at: Instant
    to_at: Instant
    bytes: int
    sha256: str
    version_id: str
    codec: str
    first_seq: int
    last_seq: int
    fragments: int
    retain_until: Instant
    stored_at: Instant


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a listing.

    Attributes:
        items: In order.
        cursor: Give it back to get what follows; None at the end.
    """

    items: list[T]
    cursor: str | None = None
