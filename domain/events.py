"""Events: everything observed, as it stands on topic `events` and in a replay file.

Each struct is one `type` of the interface. Times are `Instant` (RFC 3339 on the wire), durations seconds, sizes
bytes. Unknown fields are ignored; an unknown type or a value out of range is refused by `domain.wire`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.clock import Instant
from domain.ids import FeedId, RecorderId, SessionId, Sha256

Kind = Literal["body_worn", "premises_camera", "room_camera"]
StopReason = Literal["officer", "device", "battery", "storage", "connection_lost", "server", "maintenance", "unknown"]
ExplanationMethod = Literal["voice", "written", "work_record"]
RetentionClass = Literal["unknown", "ordinary", "evidence", "long_term"]
"""How long footage is kept; `unknown`: nobody has decided, so it is not deleted."""
HoldOrigin = Literal["person", "finding", "case"]
IntegrityFault = Literal["missing", "altered", "hidden", "unlisted", "unlocked", "ledger"]
"""`unlocked`: without the lock or the hold that it is owed; `ledger`: the custody ledger is not what it was."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=10_000)]
Count = Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)]  # exact in every JSON reader, and it fits 64 bits
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What all events have.

    Attributes:
        at: When the system learnt it; the detectors' only clock.
        v: Version of the wire form; absent means 1.
    """

    at: Instant
    v: Annotated[int, Meta(ge=1, le=1)] = 1


class RecorderEvent(Event, frozen=True, kw_only=True):
    """What all events but `tick` have: the recorder they are about, which is also their key on the log."""

    recorder_id: RecorderId


class RecorderRegistered(RecorderEvent, frozen=True, kw_only=True, tag="recorder_registered"):
    """A recorder is known from now on.

    Attributes:
        kind: What it is.
        policy: Name of the jurisdiction's policy.
        site_id: Premises or unit it belongs to.
        expects_audio: Silence on its audio track is worth a finding.
        continuous: Recording is expected at all times, session or not.
        active: It is in use; where not, nothing is expected of it, whatever session of its is still open.
    """

    kind: Kind
    policy: Name
    site_id: Name | None = None
    expects_audio: bool = False
    continuous: bool = False
    active: bool = True


class SessionOpened(RecorderEvent, frozen=True, kw_only=True, tag="session_opened"):
    """A duty, act or camera day begins.

    Attributes:
        session_id: Its id.
        act: Procedure being recorded: inspection, questioning, hearing, coercion, service, …
        unbroken: The policy forbids any stop in this act.
        remote: The officer is away from the unit; the store-by time runs from the return.
    """

    session_id: SessionId
    act: Name | None = None
    unbroken: bool = False
    remote: bool = False


class Fragment(RecorderEvent, frozen=True, kw_only=True, tag="fragment"):
    """One self-contained piece of media has been taken in.

    Attributes:
        session_id: Session it belongs to.
        feed_id: Connection it came over; `seq` starts again with each.
        seq: 0, 1, 2… within the feed.
        captured_at: Wall-clock time of its first access unit, after clock mapping.
        duration_s: From its first access unit to the end of its last, seconds.
        bytes: Size of the `media` record.
        sha256: SHA-256 of the `media` record.
        codec: Codecs of its tracks, comma-separated, picture first.
        lost_packets: RTP packets known to be missing in it, or before it since the fragment before.
    """

    session_id: SessionId
    feed_id: FeedId
    seq: Count
    captured_at: Instant
    duration_s: Seconds
    bytes: Count
    sha256: Sha256
    codec: Name
    lost_packets: Count = 0


class Telemetry(RecorderEvent, frozen=True, kw_only=True, tag="telemetry"):
    """What a device says of itself.

    Attributes:
        device_at: Device clock when measured.
        sent_at: Device clock when sent; a batch sent late is not a slow clock.
        battery_percent: 0 to 100.
        charging: On mains or dock.
        storage_free_bytes: Free space of the device's own card.
        storage_total_bytes: Size of that card.
        recording: The device says that it is recording.
        signal_dbm: Strength of its radio link.
        lat: Degrees north, WGS 84.
        lon: Degrees east, WGS 84.
    """

    device_at: Instant
    sent_at: Instant | None = None
    battery_percent: Percent | None = None
    charging: bool | None = None
    storage_free_bytes: Count | None = None
    storage_total_bytes: Count | None = None
    recording: bool | None = None
    signal_dbm: Annotated[float, Meta(ge=-200, le=50)] | None = None
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None


class Observation(RecorderEvent, frozen=True, kw_only=True, tag="observation"):
    """What the analysis saw and heard in a window of media.

    Attributes:
        session_id: Session it belongs to.
        captured_at: Start of the window.
        window_s: Length of the window, seconds.
        luma: Mean of Y, 0–255.
        contrast: Standard deviation of Y.
        sharpness: Variance of the Laplacian of Y at 480 px width.
        change: Mean absolute difference to the picture before ÷ 255.
        scene_shift: 1 − correlation with the reference picture.
        audio_dbfs: RMS level.
        speech_s: Seconds of speech in the window.
    """

    session_id: SessionId
    captured_at: Instant
    window_s: Seconds
    luma: Annotated[float, Meta(ge=0, le=255)] | None = None
    contrast: Annotated[float, Meta(ge=0, le=255)] | None = None
    sharpness: Annotated[float, Meta(ge=0)] | None = None
    change: Fraction | None = None
    scene_shift: Fraction | None = None
    audio_dbfs: Annotated[float, Meta(le=20)] | None = None
    speech_s: Seconds | None = None


class SessionStopped(RecorderEvent, frozen=True, kw_only=True, tag="session_stopped"):
    """Recording of an open session has stopped; it may resume.

    Attributes:
        session_id: The session.
        reason: Who or what stopped it, as far as known.
        last_captured_at: Last captured moment.
    """

    session_id: SessionId
    reason: StopReason
    last_captured_at: Instant


class SessionResumed(RecorderEvent, frozen=True, kw_only=True, tag="session_resumed"):
    """Recording of a stopped session goes on."""

    session_id: SessionId


class SessionEnded(RecorderEvent, frozen=True, kw_only=True, tag="session_ended"):
    """A session is over.

    Attributes:
        session_id: The session.
        completed_at: Recording completed; the store-by time runs from here.
    """

    session_id: SessionId
    completed_at: Instant


class Returned(RecorderEvent, frozen=True, kw_only=True, tag="returned"):
    """The officer is back at the unit; remote store-by times run from here."""

    session_id: SessionId | None = None


class StoringDeferred(RecorderEvent, frozen=True, kw_only=True, tag="storing_deferred"):
    """A leader lets the footage of a session be stored later (延期导入, 延期移交).

    It counts from `at` on: leave that is told after the time was over does not move it (Chongqing 第二十一条 事先批准).

    Attributes:
        session_id: The session.
        approved_by: Who gave leave.
        until: New time to store by.
        reason: The special circumstances, in words.
        by: Who asked for it.
    """

    session_id: SessionId
    approved_by: Name
    until: Instant
    reason: Annotated[str, Meta(min_length=1, max_length=10_000)]
    by: Name | None = None


class Explanation(RecorderEvent, frozen=True, kw_only=True, tag="explanation"):
    """Somebody explains a stop.

    Attributes:
        session_id: The session.
        method: How it was said.
        cause: An id of the policy's list, or `other`.
        text: In words.
        by: Who explains.
        approved_by: Who reviewed and approved it.
        stopped_at: Which stop is meant; the latest before it where absent.
    """

    session_id: SessionId
    method: ExplanationMethod
    cause: Name
    by: Name
    text: Text | None = None
    approved_by: Name | None = None
    stopped_at: Instant | None = None


class HeldRecording(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One recording that a device still holds.

    Attributes:
        session_id: The session.
        from_: First captured moment (`from` on the wire).
        to: End of the recording.
        bytes: Size on the device.
    """

    session_id: SessionId
    from_: Instant
    to: Instant
    bytes: Count


class DeviceIndex(RecorderEvent, frozen=True, kw_only=True, tag="device_index"):
    """Everything that the device still holds and has not delivered."""

    recordings: Annotated[list[HeldRecording], Meta(max_length=10_000)]


class Backfilled(RecorderEvent, frozen=True, kw_only=True, tag="backfilled", rename={"from_": "from"}):
    """Footage delivered later now covers a span.

    Attributes:
        session_id: The session.
        from_: Start of the span (`from` on the wire).
        to: End of the span.
        sha256: Of the delivered file.
        key: Object that it is in the store; absent where somebody else keeps it.
        version_id: Version that was written; empty where the store has none.
        bytes: Its size.
        delivered_at: When the file was whole and verified here.
    """

    session_id: SessionId
    from_: Instant
    to: Instant
    sha256: Sha256
    key: Name | None = None
    version_id: Annotated[str, Meta(max_length=200)] | None = None
    bytes: Count | None = None
    delivered_at: Instant | None = None


class SegmentStored(RecorderEvent, frozen=True, kw_only=True, tag="segment_stored", rename={"from_": "from"}):
    """A segment is in the store, locked.

    Attributes:
        session_id: The session.
        from_: Capture time of its first access unit (`from` on the wire).
        to: Capture time of its end.
        key: Object key.
        version_id: Version that was written; empty where the store has none.
        sha256: Of the object.
        bytes: Size of the object.
    """

    session_id: SessionId
    from_: Instant
    to: Instant
    key: Name
    version_id: Annotated[str, Meta(max_length=200)]
    sha256: Sha256
    bytes: Count


class Hold(RecorderEvent, frozen=True, kw_only=True, tag="hold", rename={"from_": "from"}):
    """Footage must not be deleted, or may be again.

    Attributes:
        session_id: The session.
        from_: Start of what is held; the whole session where absent (`from` on the wire).
        to: End of what is held.
        reason: Why.
        by: Who decided.
        released: The hold is lifted.
        origin: What asks for it.
        ref: Number of the case, id of the finding.
        hold_id: Which hold is lifted; every person's hold of exactly this span where absent.
        confirmed_by: Of a release: the second person, without whom nothing is lifted.
    """

    session_id: SessionId
    reason: Text
    by: Name
    released: bool
    from_: Instant | None = None
    to: Instant | None = None
    origin: HoldOrigin = "person"
    ref: Name | None = None
    hold_id: Name | None = None
    confirmed_by: Name | None = None


class Classified(RecorderEvent, frozen=True, kw_only=True, tag="classified", rename={"class_": "class"}):
    """Somebody decided how long the footage of a session is kept.

    Attributes:
        session_id: The session.
        class_: The class (`class` on the wire).
        reason: Why.
        by: Who decided.
        document: Number of the signed decision; without one the class may only become stronger.
        case: Number of the case that the session belongs to; as before where absent.
        closed_at: When that case was closed; with `case` and without this it is open.
        keep_until: End of the case file's period, or of the time the organ has set; never becomes earlier.
    """

    session_id: SessionId
    class_: RetentionClass
    reason: Text
    by: Name
    document: Name | None = None
    case: Name | None = None
    closed_at: Instant | None = None
    keep_until: Instant | None = None


class Integrity(RecorderEvent, frozen=True, kw_only=True, tag="integrity"):
    """A check found stored evidence not as it was written."""

    key: Name
    fault: IntegrityFault


class Tick(Event, frozen=True, kw_only=True, tag="tick"):
    """Time passed: written to every partition once a second, so that silence is a fact of the log."""


AnyEvent = (
    RecorderRegistered
    | SessionOpened
    | Fragment
    | Telemetry
    | Observation
    | SessionStopped
    | SessionResumed
    | SessionEnded
    | Returned
    | Explanation
    | StoringDeferred
    | DeviceIndex
    | Backfilled
    | SegmentStored
    | Hold
    | Classified
    | Integrity
    | Tick
)
"""Every event, told apart by `type`."""

AnyRecorderEvent = (
    RecorderRegistered
    | SessionOpened
    | Fragment
    | Telemetry
    | Observation
    | SessionStopped
    | SessionResumed
    | SessionEnded
    | Returned
    | Explanation
    | StoringDeferred
    | DeviceIndex
    | Backfilled
    | SegmentStored
    | Hold
    | Classified
    | Integrity
)
"""Every event that is about one recorder."""
