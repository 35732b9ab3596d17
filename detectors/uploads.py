"""What both upload detectors share: which footage of a session is not in the store, and what is said when. Pure.

Footage is owed once it is heard of: by a fragment, or by the device's own list of what it still holds
(`device_index`, each replaces the one before). It is stored once a segment covers it, or a delivery (`backfilled`). A
session that was ended without a single fragment, segment or list
is owed as a whole: something was recorded, and nothing is here. Media that is missing between fragments is
a gap, and no matter of time: nobody knows whether it exists.

The time runs from completion, or for remote work from the return (`policies.deadlines`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, policy_of, seconds, text
from detectors.footage import JOIN_MS, Pieces, add, bounded, length, remove, without
from domain.clock import Instant, ms
from domain.errors import InvalidInput
from domain.events import (
    AnyEvent,
    Backfilled,
    DeviceIndex,
    Fragment,
    RecorderRegistered,
    Returned,
    SegmentStored,
    SessionEnded,
    SessionOpened,
)
from domain.findings import Figure, Finding, FindingKind, Severity, Status
from policies.deadlines import Deadline, store_by

MAX_SESSIONS = 64
"""Sessions with footage that is not stored; beyond it the one unused for longest is forgotten, ended ones last."""
MAX_FINISHED = 8
"""Sessions remembered after all is stored, for lists and repetitions that come behind."""
AGAIN_AFTER_MS = 600_000
"""After it was said that all is stored, footage must be owed so long for it to be said again."""
EMPTY_MS = 10_000
"""A session shorter than this need not hold a recording."""

WANTS = frozenset[type[AnyEvent]](
    {
        RecorderRegistered,
        SessionOpened,
        SessionEnded,
        Fragment,
        SegmentStored,
        Backfilled,
        DeviceIndex,
        Returned,
    }
)


class Footage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session.

    Attributes:
        owed: Taken in, not stored.
        held: On the device.
        stored: Stored or delivered; the newest spans.
        slack: Longest remnant that counts as nothing.
        seen: A fragment, a segment, a delivery or the device's list has told of it.
        opened_at: When it was opened; 0 if that was not heard.
        completed: Recording completed; 0 before.
        remote: Work far away.
        returned: When the officer came back; 0 before.
        mark: When there will be something to say; 0 for never, or not known yet.
        began: Beginning of the open finding; 0 for none.
        days_off_only: As last said.
        owed_since: Since when footage is owed again after all was stored; 0 if it never was.
        closed: It was said once that all is stored.
        used: `now` of the latest change.
    """

    owed: Pieces = ()
    held: Pieces = ()
    stored: Pieces = ()
    slack: int = JOIN_MS
    seen: bool = False
    opened_at: int = 0
    completed: int = 0
    remote: bool = False
    returned: int = 0
    mark: int = 0
    began: int = 0
    days_off_only: bool = False
    owed_since: int = 0
    closed: bool = False
    used: int = 0

    def is_all_stored(self) -> bool:
        """Tell whether nothing is known that is not in the store."""
        presumed = not self.seen and self.completed - self.opened_at > EMPTY_MS
        return not (self.owed or self.held or (presumed and self.completed))

    def is_finished(self) -> bool:
        """Tell whether it can be forgotten."""
        return bool(self.completed) and self.is_all_stored() and not self.began

    def missing_ms(self) -> int:
        """Return how much is not stored."""
        if not self.seen:
            return self.completed - self.opened_at
        return length(self.owed) + length(without(self.held, self.owed))


class State(msgspec.Struct, frozen=True):
    """State of an upload detector.

    Attributes:
        sessions: By id.
        index_at: `at` of the newest device list.
    """

    sessions: dict[str, Footage] = {}
    index_at: int = 0


class Upload:
    """An upload detector; the two differ in the moment from which they speak, and in what closing tells.

    Args:
        kind: Kind of its findings.
        overdue: It speaks when the time is over, and not when little is left.
    """

    wants = WANTS
    state_type = State

    def __init__(self, kind: FindingKind, *, overdue: bool) -> None:
        self.name = f"{kind}/1"
        self._kind = kind
        self._overdue = overdue

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        sessions, index_at = dict(before.sessions), before.index_at
        if isinstance(event, DeviceIndex):
            if event.at >= index_at:
                index_at = int(event.at)
                _indexed(sessions, event, context)
        else:
            _took(sessions, event, context)
        self._set_marks(sessions, before.sessions, event, context)
        findings: list[Finding] = []
        wake_at = self._judge_all(sessions, int(event.at), context, findings)
        _forget(sessions)
        same = len(sessions) == len(before.sessions) and all(
            before.sessions.get(name) is one for name, one in sessions.items()
        )
        return Step(before if same and index_at == before.index_at else State(sessions, index_at), findings, wake_at)

    def _set_marks(
        self, sessions: dict[str, Footage], before: dict[str, Footage], event: AnyEvent, context: Context
    ) -> None:
        again = isinstance(event, RecorderRegistered)
        for name, now in sessions.items():
            was = before.get(name)
            if now.completed and (again or (was is not now and not _same_times(was, now))):
                deadline = _deadline(now, context)
                moment = None
                if deadline is not None:
                    moment = deadline.store_by if self._overdue else deadline.warn_at
                sessions[name] = msgspec.structs.replace(now, mark=int(moment or 0))

    def _judge_all(
        self, sessions: dict[str, Footage], at: int, context: Context, findings: list[Finding]
    ) -> int | None:
        wake_at: int | None = None
        for name, footage in list(sessions.items()):
            after, due = self._judged(name, footage, at, context, findings)
            if after is not footage:
                sessions[name] = after
            if due is not None and due > context.now:
                wake_at = due if wake_at is None else min(wake_at, due)
        return wake_at

    def _judged(
        self, name: str, footage: Footage, at: int, context: Context, findings: list[Finding]
    ) -> tuple[Footage, int | None]:
        stored = footage.is_all_stored()
        if footage.began:
            if stored:
                findings.append(self._finding(name, footage, "closed", context, max(at, footage.began)))
                return msgspec.structs.replace(footage, began=0, days_off_only=False, closed=True), None
            return self._days_off_over(name, footage, context, findings)
        if footage.closed and stored != (not footage.owed_since):
            footage = msgspec.structs.replace(footage, owed_since=0 if stored else context.now)
        if stored or not footage.mark:
            return footage, None
        began = max(footage.mark, footage.owed_since)
        due = max(footage.mark, footage.owed_since + AGAIN_AFTER_MS) if footage.closed else footage.mark
        if due > context.now:
            return footage, due
        footage = msgspec.structs.replace(footage, began=began)
        return self._days_off_over(name, footage, context, findings, opening=True)

    def _days_off_over(
        self, name: str, footage: Footage, context: Context, findings: list[Finding], *, opening: bool = False
    ) -> tuple[Footage, int | None]:
        """Open it, or update it where it has become overdue by working days too; tell when that will be."""
        if not opening and not footage.days_off_only:
            return footage, None
        deadline = _deadline(footage, context) if self._overdue else None
        days_off = deadline is not None and deadline.days_off_only(Instant(context.now))
        if opening or not days_off:
            footage = msgspec.structs.replace(footage, days_off_only=days_off)
            findings.append(self._finding(name, footage, "opened" if opening else "updated", context, None))
        later = deadline.store_by_working if deadline is not None and days_off else None
        return footage, None if later is None else int(later)

    def _finding(self, name: str, footage: Footage, status: Status, context: Context, ended_at: int | None) -> Finding:
        deadline = _deadline(footage, context)
        timely = policy_of(context).store_by.within is None and not footage.remote
        severity: Severity = "critical" if self._overdue and not footage.days_off_only else "warning"
        return finding(
            context,
            self._kind,
            status,
            began_at=footage.began,
            ended_at=ended_at,
            session_id=name,
            severity=severity,
            evidence=self._evidence(footage, deadline, context.now if ended_at is None else ended_at, status),
            key=f"{self._kind}.timely" if timely and not self._overdue else None,
        )

    def _evidence(self, footage: Footage, deadline: Deadline | None, now: int, status: Status) -> dict[str, Figure]:
        closed = status == "closed"
        end = deadline.store_by if deadline is not None else None
        figures: dict[str, Figure] = {
            "completed_at": text(footage.completed),
            "store_by": text(end) if end is not None else None,
            "missing_s": 0.0 if closed else seconds(footage.missing_ms()),
            "on_device_s": seconds(length(footage.held)),
        }
        if not closed:
            figures["seconds_left"] = None if end is None else seconds(end - now)
        if footage.remote:
            figures["returned_at"] = text(footage.returned) if footage.returned else None
        if footage.days_off_only:
            figures["days_off_only"] = True
        if deadline is not None and deadline.note:
            figures["note"] = deadline.note
        if closed and self._overdue:
            figures["late_s"] = seconds(max(0, now - (footage.began if end is None else end)))
        return figures


def _same_times(was: Footage | None, now: Footage) -> bool:
    return was is not None and (was.completed, was.remote, was.returned) == (now.completed, now.remote, now.returned)


def _deadline(footage: Footage, context: Context) -> Deadline | None:
    registration = context.knowledge.registration
    try:
        return store_by(
            policy_of(context),
            registration.kind if registration else "body_worn",
            Instant(footage.completed),
            remote=footage.remote,
            returned=Instant(footage.returned) if footage.returned else None,
            calendar=context.book.calendar,
        )
    except InvalidInput:  # a device may claim to have completed a recording in any century
        return None


def _took(sessions: dict[str, Footage], event: AnyEvent, context: Context) -> None:
    now = context.now
    if isinstance(event, Fragment):
        if not context.is_late(event):
            known = sessions.get(event.session_id) or _new(event.session_id, context)
            sessions[event.session_id] = _arrived(known, event, now)
    elif isinstance(event, SegmentStored | Backfilled):
        known = sessions.get(event.session_id) or _new(event.session_id, context)
        sessions[event.session_id] = _covered(known, int(event.from_), int(event.to), now)
    elif isinstance(event, Returned):
        _returned(sessions, event)
    elif isinstance(event, SessionOpened | SessionEnded):
        known = sessions.get(event.session_id) or _opened(event.session_id, context)
        sessions[event.session_id] = _said(known, event.session_id, context)


def _opened(session_id: str, context: Context) -> Footage:
    """Begin with a session. One that is over and not known here may have been forgotten: it is not presumed empty."""
    session = context.knowledge.sessions.get(session_id)
    return Footage(seen=session is None or session.phase == "ended", used=context.now)


def _new(session_id: str, context: Context) -> Footage:
    return _said(Footage(used=context.now), session_id, context)


def _said(footage: Footage, session_id: str, context: Context) -> Footage:
    """Return it with what was said of the session."""
    session = context.knowledge.sessions.get(session_id)
    if session is None:
        return footage
    completed = min(session.completed_at or 0, session.since) if session.phase == "ended" else 0
    after = msgspec.structs.replace(
        footage, opened_at=session.opened_at, completed=completed or footage.completed, remote=session.remote
    )
    return footage if after == footage else after


def _arrived(footage: Footage, event: Fragment, now: int) -> Footage:
    end = event.captured_at + ms(event.duration_s)
    owed, slack = bounded(add(footage.owed, int(event.captured_at), end, int(event.at)), footage.slack)
    return msgspec.structs.replace(footage, owed=owed, slack=slack, seen=True, used=now)


def _covered(footage: Footage, low: int, high: int, now: int) -> Footage:
    stored = add(footage.stored, low, high, now)[-MAX_SESSIONS:]
    owed = remove(footage.owed, low, high, footage.slack)
    held = remove(footage.held, low, high)
    return msgspec.structs.replace(footage, owed=owed, held=held, stored=stored, seen=True, used=now)


def _returned(sessions: dict[str, Footage], event: Returned) -> None:
    """The officer came back; without a session, all sessions out there are meant."""
    for name, footage in list(sessions.items()):
        if event.session_id in (None, name) and footage.remote and not footage.returned:
            sessions[name] = msgspec.structs.replace(footage, returned=int(event.at))


def _indexed(sessions: dict[str, Footage], event: DeviceIndex, context: Context) -> None:
    """Take the device's list for what it holds: what it does not name it does not hold."""
    held: dict[str, Pieces] = {}
    for one in event.recordings:
        pieces = add(held.get(one.session_id, ()), int(one.from_), int(one.to), int(event.at))
        held[one.session_id] = bounded(pieces).pieces
    for name, pieces in held.items():
        if name not in sessions and name in context.knowledge.sessions:
            sessions[name] = _new(name, context)
        if name in sessions:
            left = without(pieces, sessions[name].stored)
            sessions[name] = msgspec.structs.replace(sessions[name], held=left, seen=True, used=context.now)
    for name in sessions.keys() - held.keys():
        # A list that came after the end and does not name the session says that nothing was recorded.
        if sessions[name].held or (sessions[name].completed and not sessions[name].seen):
            sessions[name] = msgspec.structs.replace(sessions[name], held=(), seen=True, used=context.now)


def _forget(sessions: dict[str, Footage]) -> None:
    finished = [name for name, footage in sessions.items() if footage.is_finished()]
    for name in sorted(finished, key=lambda one: (sessions[one].used, one))[: max(0, len(finished) - MAX_FINISHED)]:
        del sessions[name]
    while len(sessions) > MAX_SESSIONS:
        del sessions[min(sessions, key=lambda one: (bool(sessions[one].completed), sessions[one].used, one))]
