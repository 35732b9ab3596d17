"""What is known of one recorder now: a fold of its events and findings. Pure, and bounded in memory.

Times are whole milliseconds since the epoch (plain `int`, so that the state can be saved as it stands).
"""

from __future__ import annotations

from statistics import median
from typing import Literal

import msgspec

from dashboards.pending import Coverage, Pending
from dashboards.readings import take_reading
from domain.events import Backfilled, Fragment, SegmentStored, Telemetry
from domain.findings import Figure, Finding
from storage.catalog.history import Reading

KEEP_ENDED_MS = 24 * 3_600_000
"""An ended session whose footage is all stored is kept this long, for the completeness ratio."""
MAX_SESSIONS = 256
"""Sessions kept of one recorder; the ones that ended first go first."""
MAX_FINDINGS = 500
"""Open findings kept of one recorder; the oldest goes (the catalogue has them all)."""
MAX_HELD = 200
"""Recordings on a device counted one by one; later ones of its index are counted together."""
DRAIN_WINDOW_MS = 300_000
"""The rate at which footage gets into the store is taken over the last five minutes."""
LIVE_MS = 15_000
"""Media heard this lately means that it is recording: the longest fragment, twice, and its way here."""
MAX_DRAINS = 64
MAX_MARKS = 200
MAX_LEAVES = 8
CLOCK_READINGS = 5
ON_DEVICE_WHILE_STOPPED = frozenset({"connection_lost", "server", "unknown"})
"""Stops in which the device itself records on: their time belongs to the recorded span."""


class OpenFinding(msgspec.Struct, array_like=True):
    """An open finding, without its evidence."""

    id: str
    kind: str
    severity: str
    session_id: str | None
    began_at: int
    detected_at: int
    cause: str | None
    clauses: list[str]
    key: str
    params: dict[str, Figure]

    @classmethod
    def of(cls, finding: Finding) -> OpenFinding:
        """Take over what a person is told."""
        return cls(
            finding.id,
            finding.kind,
            finding.severity,
            finding.session_id,
            int(finding.began_at),
            int(finding.detected_at),
            finding.cause,
            list(finding.clauses),
            finding.message.key,
            dict(finding.message.params),
        )


MarkKind = Literal["stop", "resume", "explanation"]


class Mark(msgspec.Struct, array_like=True):
    """A stop, a resumption or an explanation of a session, for its timeline.

    Attributes:
        at: The moment it is about, ms.
        kind: `stop`, `resume` or `explanation`.
        body: The event, in its wire form.
    """

    at: int
    kind: MarkKind
    body: bytes


class Held(msgspec.Struct, array_like=True):
    """A recording that the device still holds, as it last said."""

    session_id: str
    start: int
    end: int
    bytes: int


class Session(msgspec.Struct):
    """One session of a recorder.

    Attributes:
        session_id: Its id.
        opened_at: When it was opened, or first heard of.
        act: Procedure being recorded.
        unbroken: No stop allowed.
        remote: Store-by time runs from the return.
        ended_at: When recording was completed; None while it is open.
        ended_heard_at: When the system learnt of that.
        stopped_at: Last captured moment of the stop it is in; None while it records.
        stop_reason: Reason of that stop.
        stopped_ms: Length of the stops that are over and in which nothing was recorded.
        first_at: First captured moment.
        last_at: Last captured moment.
        pending: Fragments not in the store.
        stored: What is.
        marks: Stops, resumptions and explanations, the latest `MAX_MARKS`.
        returned_at: When the officer of a remote session was back.
        leaves: Leave to store later: given at, until, by whom; the newest `MAX_LEAVES`.
    """

    session_id: str
    opened_at: int
    act: str | None = None
    unbroken: bool = False
    remote: bool = False
    ended_at: int | None = None
    ended_heard_at: int | None = None
    stopped_at: int | None = None
    stop_reason: str | None = None
    stopped_ms: int = 0
    first_at: int | None = None
    last_at: int | None = None
    pending: Pending = msgspec.field(default_factory=Pending)
    stored: Coverage = msgspec.field(default_factory=Coverage)
    marks: list[Mark] = msgspec.field(default_factory=list)
    returned_at: int | None = None
    leaves: list[tuple[int, int, str]] = msgspec.field(default_factory=list)

    @property
    def open(self) -> bool:
        """Sessions count as open until they end, stopped or not."""
        return self.ended_at is None

    @property
    def recorded_ms(self) -> int:
        """First to last captured moment, without the stops in which the device recorded nothing."""
        if self.first_at is None or self.last_at is None:
            return 0
        return max(0, self.last_at - self.first_at - self.stopped_ms)

    def saw(self, start: int, end: int) -> None:
        """Widen the captured span; media ends a stop."""
        self.first_at = start if self.first_at is None else min(self.first_at, start)
        self.last_at = end if self.last_at is None else max(self.last_at, end)
        if self.stopped_at is not None and start >= self.stopped_at:
            self.resume(start)

    def mark(self, at: int, kind: MarkKind, body: bytes) -> Mark:
        """Remember something for the timeline; the same again changes nothing. Returns it."""
        new = Mark(at, kind, body)
        if all(mark.body != body for mark in self.marks):
            self.marks = [*self.marks, new][-MAX_MARKS:]
        return new

    def defer(self, at: int, until: int, by: str) -> None:
        """Note leave to store later; the same again changes nothing."""
        self.leaves = sorted({*self.leaves, (at, until, by)})[-MAX_LEAVES:]

    def stop(self, at: int, reason: str) -> None:
        """Note a stop; a second one without media between changes nothing but the reason."""
        self.stopped_at = at if self.stopped_at is None else self.stopped_at
        self.stop_reason = reason

    def resume(self, at: int) -> None:
        """End the stop, and leave its time out of the recorded span if nothing was recorded in it."""
        if self.stopped_at is not None and self.stop_reason not in ON_DEVICE_WHILE_STOPPED:
            self.stopped_ms += max(0, at - self.stopped_at)
        self.stopped_at = self.stop_reason = None


class Recorder(msgspec.Struct):
    """One recorder or camera.

    Attributes:
        recorder_id: Its id.
        kind: What it is; empty until registered.
        policy: Name of its policy.
        site_id: Premises, or where it is kept.
        unit_id: The enforcement unit that it belongs to.
        name: What people call it. Untrusted text.
        state: State of its registration.
        expects_audio: Its silence is worth a finding.
        continuous: Recording is expected at all times.
        registered: The registry has it (else: only heard of on the log).
        registered_at: When the log took the registration that counts.
        media_at: End of the newest media, capture time.
        media_heard_at: When media last came in.
        first_heard_at: When media first came in; the drain rate is not taken over time before it.
        telemetry_at: When telemetry last came in.
        battery_ratio: 0 to 1.
        charging: On mains or dock.
        storage_free_ratio: Free part of the device's card, 0 to 1.
        recording: The device says that it is recording.
        clock_offsets_ms: Device clock minus ours, the last few readings.
        readings: How the device was in this hour and the one before, by start of the slot; older ones are in the
            catalogue.
        sessions: Open ones, and ended ones that are young or not all stored.
        held: What the device still holds.
        findings: Open findings by id, oldest first.
        drained: (event time, bytes) put into the store in the last minutes.
    """

    recorder_id: str
    kind: str = ""
    policy: str = ""
    site_id: str = ""
    unit_id: str = ""
    name: str = ""
    state: str = "active"
    expects_audio: bool = False
    continuous: bool = False
    registered: bool = False
    registered_at: int = 0
    media_at: int | None = None
    media_heard_at: int | None = None
    first_heard_at: int | None = None
    telemetry_at: int | None = None
    battery_ratio: float | None = None
    charging: bool | None = None
    storage_free_ratio: float | None = None
    recording: bool | None = None
    clock_offsets_ms: list[int] = msgspec.field(default_factory=list)
    readings: dict[int, Reading] = msgspec.field(default_factory=dict)
    sessions: dict[str, Session] = msgspec.field(default_factory=dict)
    held: list[Held] = msgspec.field(default_factory=list)
    findings: dict[str, OpenFinding] = msgspec.field(default_factory=dict)
    drained: list[tuple[int, int]] = msgspec.field(default_factory=list)

    # -- what it is asked ---------------------------------------------------------------------------------------

    @property
    def oldest_missing_at(self) -> int | None:
        """Capture time of the oldest second that is known of and not in the store; None when all is in."""
        pending = (session.pending.oldest for session in self.sessions.values())
        return min((at for at in (*pending, *(held.start for held in self.held)) if at is not None), default=None)

    @property
    def pending_bytes(self) -> int:
        """Bytes that are known of and not in the store: fragments taken in, and recordings still on the device."""
        taken_in = sum(session.pending.bytes for session in self.sessions.values())
        return taken_in + sum(held.bytes for held in self.held)

    @property
    def pending_fragments(self) -> int:
        """Fragments taken in and not in the store."""
        return sum(session.pending.count for session in self.sessions.values())

    @property
    def open_sessions(self) -> list[Session]:
        """Sessions that have not ended."""
        return [session for session in self.sessions.values() if session.open]

    @property
    def clock_offset_s(self) -> float | None:
        """Device clock minus ours, seconds, positive when it is fast: the median of the last readings."""
        return median(self.clock_offsets_ms) / 1000 if self.clock_offsets_ms else None

    @property
    def completeness_ratio(self) -> float | None:
        """Stored ÷ recorded time of the sessions kept here, 0 to 1; None where nothing is recorded."""
        recorded = sum(session.recorded_ms for session in self.sessions.values())
        stored = sum(min(session.stored.stored_ms, session.recorded_ms) for session in self.sessions.values())
        return stored / recorded if recorded else None

    @property
    def gone(self) -> bool:
        """Retired, and nothing of it is left to be stored."""
        return self.state == "retired" and self.oldest_missing_at is None

    def owes(self, session: Session) -> bool:
        """Tell whether something of a session is known of and not in the store."""
        return bool(session.pending.spans) or any(held.session_id == session.session_id for held in self.held)

    def is_live(self, now: int) -> bool:
        """Tell whether media came in a moment ago."""
        return self.media_heard_at is not None and now - self.media_heard_at <= LIVE_MS

    def lag_ms(self, now: int) -> int:
        """Return the upload lag: now − the oldest moment not in the store; 0 when all is in."""
        oldest = self.oldest_missing_at
        return 0 if oldest is None else max(0, now - oldest)

    def drain_rate(self, now: int) -> float:
        """Return bytes per second that got into the store over the last minutes."""
        since = max(now - DRAIN_WINDOW_MS, self.first_heard_at or 0)
        drained = sum(size for at, size in self.drained if at > since)
        return drained * 1000 / max(1000, now - since)

    # -- what changes it ----------------------------------------------------------------------------------------

    def session(self, session_id: str, at: int) -> Session:
        """Return a session, made now if it was never heard of."""
        found = self.sessions.get(session_id)
        if found is None:
            found = self.sessions[session_id] = Session(session_id, at)
            self._forget_sessions(at)
        return found

    def take_fragment(self, event: Fragment) -> None:
        """Media came in: it is pending until a segment covers it."""
        start = int(event.captured_at)
        end = start + round(event.duration_s * 1000)
        session = self.session(event.session_id, int(event.at))
        session.saw(start, end)
        self.media_at = max(self.media_at or 0, end)
        self.media_heard_at = max(self.media_heard_at or 0, int(event.at))
        self.first_heard_at = self.first_heard_at or int(event.at)
        if not session.stored.holds(start, end):
            session.pending.add(event.feed_id, event.seq, start, end, event.bytes)

    def take_stored(self, event: SegmentStored | Backfilled) -> None:
        """A segment, or a file that was delivered later, is in the store."""
        drained = self.cover(event.session_id, int(event.at), int(event.from_), int(event.to))
        if drained:
            self.drained.append((int(event.at), drained))
            self.drained = [entry for entry in self.drained if entry[0] > event.at - DRAIN_WINDOW_MS][-MAX_DRAINS:]

    def cover(self, session_id: str, at: int, start: int, end: int) -> int:
        """Note that a span of a session is in the store; returns the pending bytes it took away."""
        session = self.session(session_id, at)
        session.saw(start, end)
        session.stored.add(start, end)
        on_device = sum(held.bytes for held in self.held)
        self.held = [left for held in self.held for left in self._still_held(held)]
        return session.pending.cover(start, end) + on_device - sum(held.bytes for held in self.held)

    def take_index(self, recordings: list[Held]) -> None:
        """The device says all that it still holds."""
        if len(recordings) > MAX_HELD:
            rest = recordings[MAX_HELD - 1 :]
            last = Held("", min(r.start for r in rest), max(r.end for r in rest), sum(r.bytes for r in rest))
            recordings = [*recordings[: MAX_HELD - 1], last]
        for held in recordings:  # what the device recorded counts as recorded, whether any of it came or not
            session = self.sessions.get(held.session_id)
            if session is not None:
                session.first_at = min(session.first_at or held.start, held.start)
                session.last_at = max(session.last_at or held.end, held.end)
        self.held = [left for held in recordings for left in self._still_held(held)]

    def take_returned(self, session_id: str | None, at: int) -> None:
        """The officer is back; without a session, all remote ones are meant."""
        for session in self.sessions.values():
            if session_id in (None, session.session_id) and session.remote and session.returned_at is None:
                session.returned_at = at

    def take_telemetry(self, event: Telemetry) -> bool:
        """The device says how it is. A value that it leaves out stays as it was. Tells whether a slot began."""
        self.telemetry_at = max(self.telemetry_at or 0, int(event.at))
        if event.battery_percent is not None:
            self.battery_ratio = event.battery_percent / 100
        self.charging = self.charging if event.charging is None else event.charging
        self.recording = self.recording if event.recording is None else event.recording
        if event.storage_free_bytes is not None and event.storage_total_bytes:
            self.storage_free_ratio = min(1.0, event.storage_free_bytes / event.storage_total_bytes)
        sent_at = event.sent_at or event.device_at
        self.clock_offsets_ms = [*self.clock_offsets_ms, int(sent_at) - int(event.at)][-CLOCK_READINGS:]
        return take_reading(self.readings, event)

    def take_finding(self, finding: Finding) -> None:
        """A finding opened, changed or closed."""
        self.findings.pop(finding.id, None)
        if finding.status == "closed":
            return
        self.findings[finding.id] = OpenFinding.of(finding)
        if len(self.findings) > MAX_FINDINGS:
            del self.findings[next(iter(self.findings))]

    def _still_held(self, held: Held) -> list[Held]:
        session = self.sessions.get(held.session_id)
        if session is None:
            return [held]
        length = max(1, held.end - held.start)
        parts = session.stored.missing(held.start, held.end)
        return [Held(held.session_id, one, two, round(held.bytes * (two - one) / length)) for one, two in parts]

    def _forget_sessions(self, now: int) -> None:
        done = [s for s in self.sessions.values() if s.ended_at is not None and not self.owes(s)]
        old = [s for s in done if (s.ended_at or 0) < now - KEEP_ENDED_MS]
        surplus = len(self.sessions) - len(old) - MAX_SESSIONS
        if surplus > 0:
            rest = [s for s in self.sessions.values() if s not in old]
            # Ended and stored first, then ended, then whatever has been open longest.
            rest.sort(key=lambda s: (s.ended_at is None, bool(s.pending.spans), s.ended_at or s.opened_at))
            old += rest[:surplus]
        for session in old:
            del self.sessions[session.session_id]
