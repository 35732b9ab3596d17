"""`recording.stop_and_go`: the officer stopped recording again and again within one session.

A stop said again is one: recording must have gone on in between, by `session_resumed` or by a later last captured
moment. The finding opens with the third and closes with the session, which then tells how many they were.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, is_unbroken, policy_of, text
from domain.events import AnyEvent, SessionEnded, SessionResumed, SessionStopped
from domain.findings import Finding, Status

MAX_SESSIONS = 64
"""Sessions with stops; beyond it the one unused for longest is forgotten, without a finding first."""
SLACK_MS = 1_000
"""Last captured moments are rounded."""


class Stops(msgspec.Struct, frozen=True, array_like=True):
    """The officer's stops of one session.

    Attributes:
        count: How many.
        first: Last captured moment of the first; the finding begins there.
        last: Of the newest.
        resumed: Recording was said to have gone on since.
        said: The finding is open.
        used: `at` of the latest change.
    """

    count: int = 0
    first: int = 0
    last: int = 0
    resumed: bool = True
    said: bool = False
    used: int = 0


class State(msgspec.Struct, frozen=True):
    """State of the detector: stops by session."""

    sessions: dict[str, Stops] = {}


class RecordingStopAndGo:
    """The detector."""

    name = "recording.stop_and_go/1"
    wants = frozenset[type[AnyEvent]]({SessionStopped, SessionResumed, SessionEnded})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event."""
        before: State = state
        if isinstance(event, SessionEnded):
            return _ended(before, event, context)
        if context.is_late(event):
            return Step(before)
        if isinstance(event, SessionStopped):
            return _stopped(before, event, context)
        if isinstance(event, SessionResumed) and event.session_id in before.sessions:
            known = before.sessions[event.session_id]
            return Step(_with(before, event.session_id, msgspec.structs.replace(known, resumed=True)))
        return Step(before)


def _stopped(before: State, event: SessionStopped, context: Context) -> Step:
    session = context.knowledge.sessions.get(event.session_id)
    if event.reason != "officer" or (session is not None and session.phase == "ended"):
        return Step(before)
    known = before.sessions.get(event.session_id) or Stops()
    moment = int(min(event.last_captured_at, event.at))
    if known.count and not known.resumed and moment <= known.last + SLACK_MS:
        return Step(before)
    first = known.first if known.count else moment
    now = Stops(known.count + 1, first, moment, False, known.said, int(event.at))
    findings: tuple[Finding, ...] = ()
    if not now.said and now.count >= context.thresholds.stop_and_go_stops:
        now = msgspec.structs.replace(now, said=True)
        findings = (_finding(event.session_id, now, "opened", context, None),)
    return Step(_with(before, event.session_id, now), findings)


def _ended(before: State, event: SessionEnded, context: Context) -> Step:
    known = before.sessions.get(event.session_id)
    if known is None:
        return Step(before)
    after = State({name: one for name, one in before.sessions.items() if name != event.session_id})
    closed = (_finding(event.session_id, known, "closed", context, int(event.at)),) if known.said else ()
    return Step(after, closed)


def _with(state: State, session_id: str, stops: Stops) -> State:
    sessions = {**state.sessions, session_id: stops}
    if len(sessions) > MAX_SESSIONS:
        del sessions[min(sessions, key=lambda name: (sessions[name].said, sessions[name].used, name))]
    return State(sessions)


def _finding(session_id: str, stops: Stops, status: Status, context: Context, ended_at: int | None) -> Finding:
    regulated = policy_of(context).stops.regulated.value or is_unbroken(context, session_id)
    return finding(
        context,
        "recording.stop_and_go",
        status,
        began_at=stops.first,
        ended_at=ended_at,
        session_id=session_id,
        severity=None if regulated else "info",
        cause="officer",
        evidence={"stops": stops.count, "first_at": text(stops.first), "last_at": text(stops.last)},
    )
