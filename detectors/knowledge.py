"""What the log has said of one recorder: its registration and its sessions. Shared by all its detectors.

Every fact carries the `at` of its event and a newer one wins, so that the order in which they stand does not matter.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.events import (
    AnyEvent,
    RecorderRegistered,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
)

MAX_SESSIONS = 64
"""Sessions remembered per recorder; beyond it the oldest ended one goes, or the oldest of all."""

Phase = Literal["open", "stopped", "ended"]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The newest registration.

    Attributes:
        at: When it was said.
        since: Since when recording is expected at all times; the first of an unbroken row of such registrations.
        kind: What the recorder is.
        policy: Its jurisdiction.
        site_id: Premises or unit.
        expects_audio: Silence on its audio track is worth a finding.
        continuous: Recording is expected at all times.
        active: It is in use.
    """

    at: int
    since: int
    kind: str
    policy: str
    site_id: str | None
    expects_audio: bool
    continuous: bool
    active: bool = True


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as far as known.

    Attributes:
        opened_at: `at` of its opening, or of the first that was heard of it.
        phase: Whether it is recording, stopped, or over.
        since: `at` of the latest opening, stop, resumption or end.
        act: Procedure being recorded.
        unbroken: The policy forbids any stop.
        remote: The officer is away from the unit.
        reason: Of the latest stop.
        last_captured_at: Last captured moment at the latest stop.
        completed_at: Recording completed.
        resumed_at: `at` of the newest resumption; a stop that is older is over, wherever it stands.
    """

    opened_at: int
    phase: Phase
    since: int
    act: str | None = None
    unbroken: bool = False
    remote: bool = False
    reason: str | None = None
    last_captured_at: int | None = None
    completed_at: int | None = None
    resumed_at: int = 0


class Knowledge(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        registration: None while the recorder has not been registered.
        sessions: By id; treat as read-only.
    """

    registration: Registered | None = None
    sessions: dict[str, Session] = {}


LIFECYCLE = frozenset({RecorderRegistered, SessionOpened, SessionStopped, SessionResumed, SessionEnded})
"""Events that change what is known; they count however late they stand."""


def learn(knowledge: Knowledge, event: AnyEvent) -> Knowledge:
    """Return what is known after an event; the same object where it adds nothing."""
    if isinstance(event, RecorderRegistered):
        return _register(knowledge, event)
    if not isinstance(event, SessionOpened | SessionStopped | SessionResumed | SessionEnded):
        return knowledge
    before = knowledge.sessions.get(event.session_id)
    after = _next_session(before, event)
    if after is before or after is None:
        return knowledge
    sessions = {**knowledge.sessions, event.session_id: after}
    while len(sessions) > MAX_SESSIONS:
        del sessions[min(sessions, key=lambda name: (sessions[name].phase != "ended", sessions[name].since, name))]
    return Knowledge(knowledge.registration, sessions)


def _register(knowledge: Knowledge, event: RecorderRegistered) -> Knowledge:
    before = knowledge.registration
    if before is not None and event.at < before.at:
        return knowledge
    runs_on = before is not None and before.continuous and event.continuous
    registration = Registered(
        at=int(event.at),
        since=before.since if before is not None and runs_on else int(event.at),
        kind=event.kind,
        policy=event.policy,
        site_id=event.site_id,
        expects_audio=event.expects_audio,
        continuous=event.continuous,
        active=event.active,
    )
    return Knowledge(registration, knowledge.sessions)


def _next_session(
    before: Session | None, event: SessionOpened | SessionStopped | SessionResumed | SessionEnded
) -> Session | None:
    at = int(event.at)
    if isinstance(event, SessionOpened):
        return _opened(before, event)
    # A session whose opening was lost is one all the same.
    known = before or Session(opened_at=at, phase="open", since=at)
    if isinstance(event, SessionEnded):
        if known.phase == "ended":
            return before
        completed = int(event.completed_at)
        return msgspec.structs.replace(known, phase="ended", since=max(at, known.since), completed_at=completed)
    if known.phase == "ended" or at < known.since:
        return before
    if isinstance(event, SessionResumed):
        since = known.since if before and known.phase == "open" else at
        return msgspec.structs.replace(known, phase="open", since=since, resumed_at=max(at, known.resumed_at))
    over = at < known.resumed_at
    return msgspec.structs.replace(
        known,
        phase="open" if over else "stopped",
        since=known.resumed_at if over else at,
        reason=event.reason,
        last_captured_at=int(event.last_captured_at),
    )


def _opened(before: Session | None, event: SessionOpened) -> Session:
    at = int(event.at)
    if before is None:
        return Session(
            opened_at=at, phase="open", since=at, act=event.act, unbroken=event.unbroken, remote=event.remote
        )
    if before.act == event.act and before.unbroken == event.unbroken and before.remote == event.remote:
        return before  # said again
    # What is said twice differently is taken at its strictest; its phase stays.
    return msgspec.structs.replace(
        before, act=before.act or event.act, unbroken=before.unbroken or event.unbroken, remote=event.remote
    )
