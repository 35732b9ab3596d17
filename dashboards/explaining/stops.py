"""The stops of recordings as people are asked to explain them: what is owed, how, and until when. Pure.

A stop is known from what the detectors said of it (a finding, opened when the time was over), or, before that, from
the session's own marks. When its explanation is due the policy says, by the functions that the detectors ask too;
of a stop that nothing was said of yet the console knows a little less than they do: not what was spoken in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from dashboards.recorder import Mark, Recorder, Session
from detectors.explanations import Given, due, judge, voice_ms, way
from detectors.stops import NEAR_MS, SLACK_MS
from domain.clock import Instant
from domain.events import Explanation, SessionResumed, SessionStopped
from domain.findings import Finding
from domain.wire import decode_event
from policies.model import Policy

KIND = "recording.unexplained_stop"
ON_THE_WAY = frozenset({"connection_lost", "server"})
"""Reasons of which only the detectors can tell whether the device recorded on; else such a stop owes nothing."""
RESTART_MS = 5_000
"""A restart that brings less media than this is none, as for the detectors (`restart_min_s`)."""
HEARD_MS = 60_000
"""So long after the time was over nothing was said of a stop: then it was explained by what was spoken."""

State = Literal["overdue", "awaiting", "due", "spoken", "explained"]
"""Overdue and awaiting review first; `spoken`: nothing is owed, it was said on the recording."""
ORDER: tuple[State, ...] = ("overdue", "awaiting", "due", "spoken", "explained")


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """One stop.

    Attributes:
        recorder_id: Of which recorder.
        session_id: In which session.
        stopped_at: Last captured moment before it.
        state: What is owed.
        asked: The way that is due: `voice`, `report`, `written` or `work_record`.
        due_at: Until when; None while that cannot be told (it runs from the session's end).
        resumed_at: When recording went on; None where it did not.
        reason: Why it stopped, as announced or found.
        severity: Of what was found; empty before.
        unruled: The policy has no rule on stops; that one is asked for is ours.
        findings: What was said of it, newest first; with what is demanded besides, there are two.
        closed_at: When what was found was closed; None while anything is open.
    """

    recorder_id: str
    session_id: str
    stopped_at: Instant
    state: State
    asked: str
    due_at: Instant | None = None
    resumed_at: Instant | None = None
    reason: str = "unknown"
    severity: str = ""
    unruled: bool = False
    findings: tuple[Finding, ...] = ()
    closed_at: Instant | None = None

    @property
    def place(self) -> tuple[int, int, str, str]:
        """What is owed longest stands first; of what is settled, the newest."""
        settled = self.state in ("spoken", "explained")
        time = -int(self.stopped_at) if settled or self.due_at is None else int(self.due_at)
        return ORDER.index(self.state), time, self.recorder_id, self.session_id

    def meant(self, stopped_at: Instant) -> bool:
        """Tell whether a time names this stop."""
        return abs(self.stopped_at - stopped_at) <= SLACK_MS


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An explanation as the log has it, judged by the policy."""

    event: Explanation
    given: Given


def found(findings: Iterable[Finding]) -> list[Interruption]:
    """Return the stops that the detectors said something of, what is said of one stop in one."""
    by_stop: dict[tuple[str, str, int], list[Finding]] = {}
    for one in findings:
        if one.kind == KIND and one.session_id is not None:
            by_stop.setdefault((one.recorder_id, one.session_id, int(one.began_at)), []).append(one)
    return [_found(said) for said in by_stop.values()]


def _found(said: list[Finding]) -> Interruption:
    said.sort(key=lambda one: (one.status != "closed", one.detected_at), reverse=True)
    newest = said[0]  # the one that still asks for something, where one does
    waits = newest.evidence.get("state") == "awaiting_review"
    closed = newest.status == "closed"
    by_speech = closed and bool(newest.evidence.get("explained_by_speech"))
    state: State = ("spoken" if by_speech else "explained") if closed else "awaiting" if waits else "overdue"
    return Interruption(
        recorder_id=newest.recorder_id,
        session_id=newest.session_id or "",
        stopped_at=newest.began_at,
        state=state,
        asked=str(newest.evidence.get("asked", "written")),
        due_at=_moment(newest, "due_at"),
        resumed_at=next((at for one in said if (at := _moment(one, "resumed_at")) is not None), None),
        reason=newest.cause or "unknown",
        severity=newest.severity,
        unruled=newest.severity == "info",
        findings=tuple(said),
        closed_at=newest.ended_at if closed else None,
    )


def upcoming(recorder: Recorder, policy: Policy, known: Iterable[Interruption], now: Instant) -> list[Interruption]:
    """Return the stops of a recorder that nothing was said of yet: their time is not over, or nothing is owed.

    Args:
        recorder: Its sessions and their marks.
        policy: The recorder's.
        known: What was found already; those are left out.
        now: The time.
    """
    listed: list[Interruption] = []
    taken = [one for one in known if one.recorder_id == recorder.recorder_id]
    for session in recorder.sessions.values():
        stops = [mark for mark in session.marks if mark.kind == "stop"]
        for mark in stops:
            same = [one for one in taken if one.session_id == session.session_id and one.meant(Instant(mark.at))]
            said = None if same else _upcoming(recorder, session, mark, policy, now)
            if said is not None:
                listed.append(said)
    return listed


def _upcoming(recorder: Recorder, session: Session, mark: Mark, policy: Policy, now: Instant) -> Interruption | None:
    stop = decode_event(mark.body)
    if not isinstance(stop, SessionStopped) or stop.reason in ON_THE_WAY:
        return None
    resumed_at, recorded_ms = _went_on(session, mark)
    full_at = int(resumed_at) + voice_ms(policy) if resumed_at and recorded_ms >= voice_ms(policy) else 0
    went_on, ended = recorded_ms >= RESTART_MS, session.ended_heard_at or 0
    name, _ = way(policy, full=bool(full_at) or (went_on and not ended))
    at = due(policy, at=int(stop.at), went_on=went_on, full_at=full_at, ended=ended)
    best = _best(told(session, policy), stop, session)
    accepted = best is not None and best.given.outcome == "accepted"
    state: State = "explained" if accepted else "awaiting" if best and best.given.outcome == "awaiting" else "due"
    if state == "due" and name == "voice" and at is not None and at + HEARD_MS < now:
        state = "spoken"
    return Interruption(
        recorder_id=recorder.recorder_id,
        session_id=session.session_id,
        stopped_at=Instant(mark.at),
        state=state,
        asked=name,
        due_at=None if at is None else Instant(at),
        resumed_at=resumed_at,
        reason=stop.reason,
        unruled=not policy.stops.regulated.value,
        closed_at=best.event.at if best is not None and accepted else None,
    )


def _went_on(session: Session, stop: Mark) -> tuple[Instant | None, int]:
    """Return when recording went on after a stop, and how long it did until the next one, milliseconds."""
    later = [mark for mark in session.marks if mark.at > stop.at]
    resumed = next((mark for mark in later if mark.kind == "resume"), None)
    following = next((mark.at for mark in later if mark.kind == "stop"), None)
    if resumed is None or (following is not None and following < resumed.at):
        return None, 0
    event = decode_event(resumed.body)
    at = event.at if isinstance(event, SessionResumed) else Instant(resumed.at)
    return at, max(0, min(session.last_at or 0, following or session.last_at or 0) - int(at))


def told(session: Session, policy: Policy) -> list[Told]:
    """Return the explanations that the log has of a session, the oldest first."""
    events = [decode_event(mark.body) for mark in session.marks if mark.kind == "explanation"]
    said = [Told(event=event, given=judge(policy, event)) for event in events if isinstance(event, Explanation)]
    return sorted(said, key=lambda one: one.event.at)


def belongs(event: Explanation, stopped_at: Instant, stops: Iterable[Instant]) -> bool:
    """Tell whether an explanation is about a stop: the one it names, else the latest before it."""
    if event.stopped_at is not None:
        return abs(event.stopped_at - stopped_at) <= NEAR_MS
    return max((at for at in stops if at <= event.at), default=None) == stopped_at


def stops_of(session: Session) -> list[Instant]:
    """Return the stops that a session's marks tell of."""
    return [Instant(mark.at) for mark in session.marks if mark.kind == "stop"]


def _best(said: list[Told], stop: SessionStopped, session: Session) -> Told | None:
    best: Told | None = None
    stops = stops_of(session)
    for one in said:
        mine = belongs(one.event, stop.last_captured_at, stops)
        if mine and one.given.outranks(None if best is None else best.given):
            best = one
    return best


def _moment(finding: Finding, name: str) -> Instant | None:
    value = finding.evidence.get(name)
    try:
        return Instant.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None
