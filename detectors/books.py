"""Which footage of a recorder's sessions is not in the store: the books that both upload detectors read. Pure.

Footage is owed once it is heard of: by a fragment, or by the device's own list of what it still holds
(`device_index`, each replaces the one before). It is stored once a segment covers it, or a delivery (`backfilled`). A
session that was ended without a single fragment, segment or list
is owed as a whole: something was recorded, and nothing is here. Media that is missing between fragments is
a gap, and no matter of time: nobody knows whether it exists.

The books are kept once a recorder, before its detectors are stepped, as `detectors.knowledge` is.
"""

from __future__ import annotations

import msgspec

from detectors.footage import JOIN_MS, Pieces, add, bounded, length, remove, without
from detectors.knowledge import Knowledge
from domain.clock import ms
from domain.events import (
    AnyEvent,
    Backfilled,
    DeviceIndex,
    Fragment,
    Returned,
    SegmentStored,
    SessionEnded,
    SessionOpened,
    StoringDeferred,
)

MAX_SESSIONS = 64
"""Sessions with footage that is not stored; beyond it the one unused for longest is forgotten, ended ones last."""
MAX_FINISHED = 8
"""Sessions remembered after all is stored, for lists and repetitions that come behind."""
MAX_STORED = 64
"""Spans remembered as stored, the newest, for lists that were made before the delivery was known."""
MAX_LEAVES = 8
"""Leaves to store later remembered of one session, the newest."""
EMPTY_MS = 10_000
"""A session shorter than this need not hold a recording."""

BOOKED = frozenset[type[AnyEvent]](
    {SessionOpened, SessionEnded, Fragment, SegmentStored, Backfilled, DeviceIndex, Returned, StoringDeferred}
)
"""Events that change the books."""


class Leave(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Leave to store later: given at `at`, for storing until `until`, by `by`."""

    at: int
    until: int
    by: str


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
        leaves: To store later, in the order in which they were given.
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
    leaves: tuple[Leave, ...] = ()
    used: int = 0

    def is_all_stored(self) -> bool:
        """Tell whether nothing is known that is not in the store."""
        presumed = not self.seen and self.completed - self.opened_at > EMPTY_MS
        return not (self.owed or self.held or (presumed and self.completed))

    def is_finished(self) -> bool:
        """Tell whether it can be forgotten."""
        return bool(self.completed) and self.is_all_stored()

    def missing_ms(self) -> int:
        """Return how much is not stored."""
        if not self.seen:
            return self.completed - self.opened_at
        return length(self.owed) + length(without(self.held, self.owed))

    def times(self) -> tuple[int, ...]:
        """Return what the store-by time is a function of."""
        leaves = (part for one in self.leaves for part in (one.at, one.until))
        return (self.completed, int(self.remote), self.returned, *leaves)


class Books(msgspec.Struct, frozen=True):
    """All sessions of a recorder.

    Attributes:
        sessions: By id; treat as read-only.
        index_at: `at` of the newest device list.
    """

    sessions: dict[str, Footage] = {}
    index_at: int = 0


def enter(books: Books, event: AnyEvent, knowledge: Knowledge, now: int, *, late: bool) -> Books:
    """Return the books after an event of `BOOKED`; the same object where it adds nothing.

    Args:
        books: Before it.
        event: The event.
        knowledge: With this event already counted in.
        now: Highest `at` that came through the intake.
        late: The event stands so late that media is no longer told by it.
    """
    if isinstance(event, Fragment):
        # The most frequent by far, and of one session.
        if late:
            return books
        known = books.sessions.get(event.session_id)
        if known is not None and len(books.sessions) <= MAX_FINISHED:
            return Books({**books.sessions, event.session_id: _arrived(known, event, now)}, books.index_at)
    sessions, index_at = dict(books.sessions), books.index_at
    _forget(sessions)
    if isinstance(event, DeviceIndex):
        if event.at >= index_at:
            index_at = int(event.at)
            _indexed(sessions, event, knowledge, now)
    else:
        _took(sessions, event, knowledge, now)
    same = len(sessions) == len(books.sessions) and all(
        books.sessions.get(name) is one for name, one in sessions.items()
    )
    return books if same and index_at == books.index_at else Books(sessions, index_at)


def _took(sessions: dict[str, Footage], event: AnyEvent, knowledge: Knowledge, now: int) -> None:
    if isinstance(event, Returned):
        _returned(sessions, event)
        return
    if not isinstance(event, Fragment | SegmentStored | Backfilled | SessionOpened | SessionEnded | StoringDeferred):
        return
    name = event.session_id
    known = sessions.get(name)
    if isinstance(event, Fragment):
        sessions[name] = _arrived(known or _new(name, knowledge, now), event, now)
    elif isinstance(event, SegmentStored | Backfilled):
        sessions[name] = _covered(known or _new(name, knowledge, now), int(event.from_), int(event.to), now)
    elif isinstance(event, StoringDeferred):
        if known is not None or name in knowledge.sessions:
            sessions[name] = _deferred(known or _new(name, knowledge, now), event, now)
    else:
        sessions[name] = _said(known or _opened(name, knowledge, now), name, knowledge)


def _opened(session_id: str, knowledge: Knowledge, now: int) -> Footage:
    """Begin with a session. One that is over and not known here may have been forgotten: it is not presumed empty."""
    session = knowledge.sessions.get(session_id)
    return Footage(seen=session is None or session.phase == "ended", used=now)


def _new(session_id: str, knowledge: Knowledge, now: int) -> Footage:
    return _said(Footage(used=now), session_id, knowledge)


def _said(footage: Footage, session_id: str, knowledge: Knowledge) -> Footage:
    """Return it with what was said of the session."""
    session = knowledge.sessions.get(session_id)
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
    stored = add(footage.stored, low, high, now)[-MAX_STORED:]
    owed = remove(footage.owed, low, high, footage.slack)
    held = remove(footage.held, low, high)
    return msgspec.structs.replace(footage, owed=owed, held=held, stored=stored, seen=True, used=now)


def _deferred(footage: Footage, event: StoringDeferred, now: int) -> Footage:
    leave = Leave(int(event.at), int(event.until), event.approved_by)
    if leave in footage.leaves:
        return footage
    leaves = tuple(sorted((*footage.leaves, leave)))[-MAX_LEAVES:]
    return msgspec.structs.replace(footage, leaves=leaves, used=now)


def _returned(sessions: dict[str, Footage], event: Returned) -> None:
    """The officer came back; without a session, all sessions out there are meant."""
    for name, footage in list(sessions.items()):
        if event.session_id in (None, name) and footage.remote and not footage.returned:
            sessions[name] = msgspec.structs.replace(footage, returned=int(event.at))


def _indexed(sessions: dict[str, Footage], event: DeviceIndex, knowledge: Knowledge, now: int) -> None:
    """Take the device's list for what it holds: what it does not name it does not hold."""
    held: dict[str, Pieces] = {}
    for one in event.recordings:
        pieces = add(held.get(one.session_id, ()), int(one.from_), int(one.to), int(event.at))
        held[one.session_id] = bounded(pieces).pieces
    for name, pieces in held.items():
        if name not in sessions and name in knowledge.sessions:
            sessions[name] = _new(name, knowledge, now)
        if name in sessions:
            left = without(pieces, sessions[name].stored)
            sessions[name] = msgspec.structs.replace(sessions[name], held=left, seen=True, used=now)
    for name in sessions.keys() - held.keys():
        # A list that came after the end and does not name the session says that nothing was recorded.
        if sessions[name].held or (sessions[name].completed and not sessions[name].seen):
            sessions[name] = msgspec.structs.replace(sessions[name], held=(), seen=True, used=now)


def _forget(sessions: dict[str, Footage]) -> None:
    """Keep the books short, before an event is entered: the detectors have then seen what is forgotten as it ended."""
    finished = [name for name, footage in sessions.items() if footage.is_finished()]
    for name in sorted(finished, key=lambda one: (sessions[one].used, one))[: max(0, len(finished) - MAX_FINISHED)]:
        del sessions[name]
    while len(sessions) > MAX_SESSIONS:
        del sessions[min(sessions, key=lambda one: (bool(sessions[one].completed), sessions[one].used, one))]
