"""What the catalogue takes and gives: plain rows, times as `Instant`."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from domain.clock import Instant
from domain.events import HoldOrigin, Kind, RetentionClass

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


class ObjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stored object of footage, whichever way it came: what retention, checks and copies go by.

    Attributes:
        key: Object key.
        recorder_id: Whose footage.
        session_id: Of which session.
        policy: Policy in force when it was stored.
        from_at: First captured moment.
        to_at: End of it.
        bytes: Size of the object.
        sha256: Of the object.
        version_id: Version that was written; empty where the store has none.
        retain_until: Locked until then.
        stored_at: When it was written.
        deleted_at: When its time was over and it was deleted; None while it is there.
    """

    key: str
    recorder_id: str
    session_id: str
    policy: str
    from_at: Instant
    to_at: Instant
    bytes: int
    sha256: str
    version_id: str
    retain_until: Instant
    stored_at: Instant
    deleted_at: Instant | None = None


class SegmentRow(ObjectRow, frozen=True, kw_only=True):
    """An object of live footage; its times are those of its access units.

    Attributes:
        feed_id: Over which connection it came.
        codec: Codecs of its tracks, picture first.
        first_seq: First fragment in it.
        last_seq: Last fragment in it; none between is missing.
        fragments: How many: `last_seq - first_seq + 1`.
    """

    feed_id: str
    codec: str
    first_seq: int
    last_seq: int
    fragments: int


class UploadRow(ObjectRow, frozen=True, kw_only=True):
    """A file that was delivered later, stored as it came; its times are those that its sender said.

    Attributes:
        media: Container by its first bytes: `mp4`, `ts`, `avi` or `bin`.
        via: Which way it came: `tus` or `folder`.
        delivered_at: When it was whole and verified here.
        overlap_ms: Of its time, so much was in the store already.
    """

    media: str
    via: str
    delivered_at: Instant
    overlap_ms: int


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody decided about the class of a session, as `domain.events.Classified` says it.

    Attributes:
        id: Of its entry in the ledger.
        recorder_id: Whose session.
        session_id: Which.
        at: When.
        retention_class: The class.
        by: Who; `policy` where the policy itself makes it one of its long-term cases.
        reason: Why.
        document: Number of the signed decision.
        case: Number of the case it belongs to.
        closed_at: When that was closed.
        keep_until: End of the case file's period.
    """

    id: str
    recorder_id: str
    session_id: str
    at: Instant
    retention_class: RetentionClass
    by: str
    reason: str
    document: str | None = None
    case: str | None = None
    closed_at: Instant | None = None
    keep_until: Instant | None = None


class HoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """Footage that must not be deleted; without a span, all of the session; with a key, that object.

    Attributes:
        id: Its id, by which it is released.
        recorder_id: Whose footage.
        session_id: Of which session; all of the recorder's in the span where None.
        key: One object alone.
        from_at: Start of what is held.
        to_at: End of it; open where None.
        origin: What asks for it.
        ref: Finding or case.
        by: Who decided.
        reason: Why.
        at: When.
    """

    id: str
    recorder_id: str
    session_id: str | None
    origin: HoldOrigin
    by: str
    reason: str
    at: Instant
    key: str | None = None
    from_at: Instant | None = None
    to_at: Instant | None = None
    ref: str | None = None


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A hold was lifted: which, when, by whom and why."""

    hold_id: str
    at: Instant
    by: str
    reason: str


ExpiryState = Literal["review", "listed", "approved", "kept", "deleting", "deleted"]
"""review: a person must decide; listed: deleted once it has been listed long enough; kept: a person wants it longer."""


class ExpiryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An object whose time is over.

    Attributes:
        key: Object key.
        recorder_id: Whose.
        session_id: Of which session.
        state: What happens next.
        retention_class: Its class when it was listed: another one begins anew.
        due_at: When its time was over.
        listed_at: When it came on the list.
        decided_at: When a person decided, or the deletion began.
        by: Who decided.
        reason: Why.
        document: Number of the signed decision.
        again_at: Of what is kept: when it comes on the list again.
    """

    key: str
    recorder_id: str
    session_id: str
    state: ExpiryState
    retention_class: RetentionClass
    due_at: Instant
    listed_at: Instant
    decided_at: Instant | None = None
    by: str | None = None
    reason: str | None = None
    document: str | None = None
    again_at: Instant | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a listing.

    Attributes:
        items: In order.
        cursor: Give it back to get what follows; None at the end.
    """

    items: list[T]
    cursor: str | None = None
