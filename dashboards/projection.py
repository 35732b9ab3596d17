"""The fleet as the log tells it: a pure fold of topics `events`, `findings` and `registry`.

Invariants:

1. `Fleet.apply` is a function of the state and the record alone: no clock, no I/O.
2. A record is absorbed once: the state remembers the next offset of each partition, and is saved together with it.
3. Memory is bounded by recorders × the limits of `dashboards.recorder`.
4. Every record is absorbed or counted as unreadable; none raises.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dashboards.recorder import Held, Mark, Recorder, Session
from domain.bus import Record
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import (
    AnyEvent,
    Backfilled,
    DeviceIndex,
    Event,
    Explanation,
    Fragment,
    RecorderEvent,
    RecorderRegistered,
    Returned,
    SegmentStored,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    StoringDeferred,
    Telemetry,
)
from domain.findings import Finding
from domain.registry import Registration
from domain.topics import EVENTS, FINDINGS, REGISTRY
from domain.wire import decode_event, decode_finding, decode_registration, encode

FORM = 3
"""Version of the saved state; another one is not read."""
MAX_REMEMBERED = 20_000
"""Ids of closed findings remembered, so that one published again after a crash is neither reopened nor counted; and
of retired recorders. The oldest is forgotten."""


class Change(msgspec.Struct, frozen=True):
    """What one record changed.

    Attributes:
        recorder_id: Whose.
        finding: The finding, as published.
        session_id: A session that was opened, stopped, resumed, ended, or got its first media.
        registration: The recorder's registration changed.
        removed: The recorder is no longer part of the fleet.
        readings: A new slot of readings began: those before it are complete.
        mark: What was said of a stop of the session.
    """

    recorder_id: str
    finding: Finding | None = None
    session_id: str | None = None
    registration: bool = False
    removed: bool = False
    readings: bool = False
    mark: Mark | None = None


class FleetState(msgspec.Struct):
    """All that is saved.

    Attributes:
        form: Version of this form.
        offsets: Next offset to absorb, by `topic/partition`.
        recorders: By id.
        findings_total: Findings opened so far, by kind.
        closed: Ids of findings closed lately, oldest first.
        retired: Ids of recorders that are gone, oldest first, so that what they said last makes no new recorder.
        at: Newest `at` absorbed; the log's own time.
        unreadable: Records that could not be decoded.
    """

    form: int = FORM
    offsets: dict[str, int] = msgspec.field(default_factory=dict)
    recorders: dict[str, Recorder] = msgspec.field(default_factory=dict)
    findings_total: dict[str, int] = msgspec.field(default_factory=dict)
    closed: dict[str, None] = msgspec.field(default_factory=dict)
    retired: dict[str, None] = msgspec.field(default_factory=dict)
    at: int = 0
    unreadable: int = 0


class Fleet:
    """The fold, and what is asked of it."""

    def __init__(self, state: FleetState | None = None) -> None:
        self.state = state or FleetState()

    @property
    def recorders(self) -> dict[str, Recorder]:
        """All recorders by id, retired ones with footage outside the store among them."""
        return self.state.recorders

    def shown(self) -> Iterable[Recorder]:
        """Recorders that are still of interest: registered ones, and any whose footage is not all stored."""
        return (recorder for recorder in self.recorders.values() if not recorder.gone)

    def next_offset(self, topic: str, partition: int) -> int:
        """Return the offset that is absorbed next."""
        return self.state.offsets.get(f"{topic}/{partition}", 0)

    def apply(self, record: Record) -> Change | None:
        """Absorb one record; None when nothing that is shown changed (a tick, a repetition, an unreadable one)."""
        if record.offset < self.next_offset(record.topic, record.partition):
            return None
        self.state.offsets[f"{record.topic}/{record.partition}"] = record.offset + 1
        try:
            return self._absorb(record)
        except InvalidEvent:
            # The workers put it on `rejected` with its reason; here it is only counted.
            self.state.unreadable += 1
            return None

    def _absorb(self, record: Record) -> Change | None:
        if record.topic == REGISTRY.name:
            return self._registry(record)
        if record.value is None:
            return None
        if record.topic == EVENTS.name:
            return self._event(decode_event(record.value))
        if record.topic == FINDINGS.name:
            return self._finding(decode_finding(record.value))
        return None

    def _recorder(self, recorder_id: str) -> Recorder:
        found = self.recorders.get(recorder_id)
        if found is None:
            state = "retired" if recorder_id in self.state.retired else "active"
            found = self.recorders[recorder_id] = Recorder(recorder_id, state=state)
        return found

    # -- registry -----------------------------------------------------------------------------------------------

    def _registry(self, record: Record) -> Change | None:
        if record.value is None:
            return self._retire(record.key or "")
        said = decode_registration(record.value)
        recorder = self._recorder(said.recorder_id)
        _register(recorder, said)
        recorder.name, recorder.state, recorder.registered = said.name or "", said.state, True
        recorder.registered_at = int(record.timestamp)
        self.state.retired.pop(said.recorder_id, None)
        return Change(said.recorder_id, registration=True, removed=self._drop_if_gone(recorder))

    def _retire(self, recorder_id: str) -> Change | None:
        recorder = self.recorders.get(recorder_id)
        if recorder is None:
            return None
        recorder.state = "retired"
        return Change(recorder_id, registration=True, removed=self._drop_if_gone(recorder))

    def _drop_if_gone(self, recorder: Recorder) -> bool:
        if not recorder.gone:
            return False
        del self.recorders[recorder.recorder_id]
        _remember(self.state.retired, recorder.recorder_id)
        return True

    # -- findings -----------------------------------------------------------------------------------------------

    def _finding(self, finding: Finding) -> Change | None:
        if finding.id in self.state.closed:
            return None
        recorder = self._recorder(finding.recorder_id)
        if finding.id not in recorder.findings:
            self.state.findings_total[finding.kind] = self.state.findings_total.get(finding.kind, 0) + 1
        recorder.take_finding(finding)
        if finding.status == "closed":
            _remember(self.state.closed, finding.id)
        return Change(finding.recorder_id, finding=finding, removed=self._drop_if_gone(recorder))

    # -- events -------------------------------------------------------------------------------------------------

    def _event(self, event: AnyEvent) -> Change | None:
        self.state.at = max(self.state.at, int(event.at))  # ticks too: how far the log has come
        if not isinstance(event, RecorderEvent):
            return None
        recorder = self._recorder(event.recorder_id)
        change = _fold(recorder, event)
        if self._drop_if_gone(recorder):
            return msgspec.structs.replace(change or Change(event.recorder_id), removed=True)
        return change


def _remember(ids: dict[str, None], new: str) -> None:
    ids.pop(new, None)
    ids[new] = None
    if len(ids) > MAX_REMEMBERED:
        del ids[next(iter(ids))]


def _register(recorder: Recorder, said: Registration | RecorderRegistered) -> None:
    recorder.kind, recorder.policy, recorder.site_id = said.kind, said.policy, said.site_id or ""
    recorder.expects_audio, recorder.continuous = said.expects_audio, said.continuous
    if isinstance(said, Registration):
        recorder.unit_id = said.unit_id or ""


def _fold(recorder: Recorder, event: Event) -> Change | None:
    """Fold one event of a recorder; None for kinds that the console does not show."""
    recorder_id = recorder.recorder_id
    match event:
        case Fragment():
            fresh = event.session_id not in recorder.sessions
            recorder.take_fragment(event)
            return Change(recorder_id, session_id=event.session_id if fresh else None)
        case SegmentStored() | Backfilled():
            recorder.take_stored(event)
        case Returned():
            recorder.take_returned(event.session_id, int(event.at))
        case StoringDeferred():
            session = recorder.session(event.session_id, int(event.at))
            session.defer(int(event.at), int(event.until), event.approved_by)
        case Telemetry():
            return Change(recorder_id, readings=recorder.take_telemetry(event))
        case DeviceIndex():
            held = (Held(r.session_id, int(r.from_), int(r.to), r.bytes) for r in event.recordings)
            recorder.take_index(sorted(held, key=lambda one: one.start))
        case RecorderRegistered():
            _register(recorder, event)
            recorder.registered_at = max(recorder.registered_at, int(event.at))
            return Change(recorder_id, registration=True)
        case SessionOpened() | SessionStopped() | SessionResumed() | SessionEnded():
            mark = _fold_session(recorder.session(event.session_id, int(event.at)), event)
            return Change(recorder_id, session_id=event.session_id, mark=mark)
        case Explanation():
            session = recorder.session(event.session_id, int(event.at))
            mark = session.mark(int(event.stopped_at or event.at), "explanation", encode(event))
            return Change(recorder_id, session_id=event.session_id, mark=mark)
        case _:
            return None
    return Change(recorder_id)


def _fold_session(
    session: Session, event: SessionOpened | SessionStopped | SessionResumed | SessionEnded
) -> Mark | None:
    match event:
        case SessionOpened():
            session.opened_at = min(session.opened_at, int(event.at))
            session.act, session.unbroken, session.remote = event.act, event.unbroken, event.remote
        case SessionStopped():
            session.stop(int(event.last_captured_at), event.reason)
            return session.mark(int(event.last_captured_at), "stop", encode(event))
        case SessionResumed():
            session.resume(int(event.at))
            return session.mark(int(event.at), "resume", encode(event))
        case SessionEnded():
            session.ended_at, session.ended_heard_at = int(event.completed_at), int(event.at)
    return None


def instant(value: int | None) -> Instant | None:
    """Return a saved time as an instant."""
    return None if value is None else Instant(value)
