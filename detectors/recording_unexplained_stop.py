"""`recording.unexplained_stop`: recording stopped, and the policy's explanation did not come in its form and time.

A stop is an announced one, or silence while the device itself says that it does not record. A lost connection while
the device records on is none; nor is an outage of ours (`server`), unless the device says that it did not record.
Silence tells of a stop once media and the device's word have both been against recording for `stall_after_ms`, so
that what is still on its way is not cut off; nothing is due so soon, so this delays nothing.

Only stops within one session are looked at: what is recorded in several sessions, one step in pieces at several
places (W-AV 第十九条), is no interruption.

When an explanation is due (`detectors.explanations` for what counts as one):

| | policies that ask for speech on restart, or have no rule | Zhanhe |
|---|---|---|
| recording went on long enough | with the 60th second of recording after the restart | |
| it did not, and the rule says at once | 10 min after the stop, or after the end where recording had begun again | |
| else | 24 h after the session's end | 24 h after the session's end, reviewed |
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from detectors.contract import Context, Step, finding, is_recording, is_unbroken, policy_of, seconds, text
from detectors.explanations import Given, WayName, judge, speech_counts, speech_ms, voice_ms, way
from detectors.gap_causes import REASONS
from detectors.stops import SLACK_MS, WORD_BEFORE_MS, Stop, Watch, Word
from domain.clock import ms
from domain.events import (
    AnyEvent,
    Explanation,
    Fragment,
    Observation,
    SessionEnded,
    SessionResumed,
    SessionStopped,
    Telemetry,
)
from domain.findings import Figure, Finding, Status
from policies.model import Policy

MAX_WATCHES = 64
"""Sessions; beyond it the one unused for longest is forgotten, ended ones first. What was said of it stays open."""
WORD_SLACK_MS = 2_000
"""A device's word may be measured so much before the end of the media that it is about."""

KIND = "recording.unexplained_stop"


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        watches: By session id.
        word: What the device last said of itself.
    """

    watches: dict[str, Watch] = {}
    word: Word | None = None


class RecordingUnexplainedStop:
    """The detector."""

    name = "recording.unexplained_stop/1"
    wants = frozenset[type[AnyEvent]](
        {Fragment, Telemetry, Observation, SessionStopped, SessionResumed, SessionEnded, Explanation}
    )
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        desk = _Desk(context, policy_of(context), [], dict(before.watches))
        word = before.word
        # What stands late counts where it only takes blame away or ends something.
        if isinstance(event, Explanation):
            _explained(desk, event)
        elif isinstance(event, SessionEnded):
            _ended(desk, event)
        elif not context.is_late(event):
            word = _took(desk, event, word)
        silent_at = _notice_silence(desk, word)
        due_at = _judge_all(desk)
        desk.forget()
        after = before
        if word is not before.word or desk.changed(before.watches):
            after = State(desk.watches, word)
        return Step(after, desk.findings, min((at for at in (silent_at, due_at) if at is not None), default=None))


class _Desk(NamedTuple):
    """What one step works with; `watches` is its own copy."""

    context: Context
    policy: Policy
    findings: list[Finding]
    watches: dict[str, Watch]

    def watch(self, session_id: str) -> Watch:
        return self.watches.get(session_id) or Watch()

    def put(self, session_id: str, watch: Watch) -> None:
        if watch is not self.watches.get(session_id):
            self.watches[session_id] = msgspec.structs.replace(watch, used=self.context.now)

    def changed(self, before: dict[str, Watch]) -> bool:
        return len(self.watches) != len(before) or any(
            before.get(name) is not watch for name, watch in self.watches.items()
        )

    def forget(self) -> None:
        for name in [name for name, watch in self.watches.items() if watch.is_idle()]:
            del self.watches[name]
        while len(self.watches) > MAX_WATCHES:
            watches = self.watches
            del watches[min(watches, key=lambda name: (not watches[name].ended, watches[name].used, name))]


def _took(desk: _Desk, event: AnyEvent, word: Word | None) -> Word | None:
    if isinstance(event, Fragment):
        _recorded(desk, event)
    elif isinstance(event, Observation):
        _observed(desk, event)
    elif isinstance(event, SessionStopped):
        _stopped(desk, event, word)
    elif isinstance(event, SessionResumed):
        _each(desk, event.session_id, lambda stop: stop.resumed(int(event.at), desk.context.thresholds.restart_min_ms))
    elif isinstance(event, Telemetry) and event.recording is not None:
        return _heard_word(desk, event, event.recording, word)
    return word


def _each(desk: _Desk, session_id: str, change: Any) -> None:
    """Put every stop of a session through a change."""
    watch = desk.watches.get(session_id)
    if watch is None or not watch.stops:
        return
    stops = tuple(change(stop) for stop in watch.stops)
    if any(after is not stop for after, stop in zip(stops, watch.stops, strict=True)):
        desk.put(session_id, msgspec.structs.replace(watch, stops=stops))


def _recorded(desk: _Desk, event: Fragment) -> None:
    start, end = int(event.captured_at), event.captured_at + ms(event.duration_s)
    session_id, full_ms = event.session_id, voice_ms(desk.policy)
    _each(desk, session_id, lambda stop: stop.with_media(start, end, int(event.at), full_ms))
    watch = desk.watch(session_id)
    reached = min(end, int(event.at))
    session = desk.context.knowledge.sessions.get(session_id)
    if reached > watch.end and not (session and session.phase == "ended"):
        desk.put(session_id, msgspec.structs.replace(watch, end=reached))


def _observed(desk: _Desk, event: Observation) -> None:
    if event.speech_s is None:
        return
    start, spoken = int(event.captured_at), ms(event.speech_s)
    _each(desk, event.session_id, lambda stop: stop.with_speech(start, start + ms(event.window_s), spoken))


def _heard_word(desk: _Desk, event: Telemetry, recording: bool, word: Word | None) -> Word | None:
    delay = max(0, event.sent_at - event.device_at) if event.sent_at is not None else 0
    measured = event.at - delay
    for session_id in desk.watches:
        _each(desk, session_id, lambda stop: stop.with_word(measured, recording=recording))
    if word is not None and measured < word.at:
        return word
    same = word is not None and word.recording == recording
    return Word(measured, recording, word.since if word is not None and same else int(event.at))


def _stopped(desk: _Desk, event: SessionStopped, word: Word | None) -> None:
    session = desk.context.knowledge.sessions.get(event.session_id)
    if session is not None and session.phase == "ended":
        return
    began = int(min(event.last_captured_at, event.at))
    _add(
        desk,
        event.session_id,
        Stop(began=began, at=int(event.at), reason=event.reason, not_before=began, anchor=began),
        word,
    )


def _add(desk: _Desk, session_id: str, stop: Stop, word: Word | None) -> None:
    """Add a stop, or let the latest take it in."""
    watch = desk.watch(session_id)
    if watch.stops and watch.stops[-1].takes_in(stop.began, desk.context.thresholds.restart_min_ms):
        last = len(watch.stops) - 1
        desk.put(session_id, watch.replaced(last, watch.stops[last].taking_in(stop.began, stop.reason)))
        return
    if (
        word is not None
        and word.at >= stop.began - WORD_BEFORE_MS
        and (word.recording or word.at > stop.began - SLACK_MS)
    ):
        stop = msgspec.structs.replace(stop, word=word.recording)
    watch = watch.with_stop(stop)
    loose = watch.loose
    if loose is not None and watch.meant_by(loose) == len(watch.stops) - 1:
        stop = msgspec.structs.replace(stop, given=loose)
        watch = msgspec.structs.replace(watch.replaced(len(watch.stops) - 1, stop), loose=None)
    desk.put(session_id, watch)


def _ended(desk: _Desk, event: SessionEnded) -> None:
    watch = desk.watches.get(event.session_id)
    if watch is not None and not watch.ended:
        desk.put(event.session_id, msgspec.structs.replace(watch, ended=int(event.at)))


def _explained(desk: _Desk, event: Explanation) -> None:
    watch = desk.watches.get(event.session_id)
    session = desk.context.knowledge.sessions.get(event.session_id)
    if watch is None and (session is None or session.phase == "ended"):
        return
    watch = watch or Watch()
    given = judge(desk.policy, event)
    index = watch.meant_by(given)
    if index is None or watch.stops[index].settled:
        desk.put(event.session_id, msgspec.structs.replace(watch, loose=given))
        return
    stop = watch.stops[index]
    if given.outranks(stop.given):
        desk.put(event.session_id, watch.replaced(index, msgspec.structs.replace(stop, given=given)))


def _notice_silence(desk: _Desk, word: Word | None) -> int | None:
    """Find sessions in which nothing comes while the device says that it does not record; tell when to look again."""
    if word is None or word.recording:
        return None
    thresholds, wake_at = desk.context.thresholds, None
    for session_id, session in desk.context.knowledge.sessions.items():
        watch = desk.watch(session_id)
        if not is_recording(session) or (watch.stops and watch.stops[-1].recorded < thresholds.restart_min_ms):
            continue
        has_media = watch.end > session.since
        began = watch.end if has_media else session.since
        if word.at < (began - WORD_SLACK_MS if has_media else began):
            continue  # the media that came afterwards has refuted it
        silent = thresholds.stall_after_ms if has_media else thresholds.stall_after_open_ms
        due = max(began + silent, word.since + thresholds.stall_after_ms)
        if due <= desk.context.now:
            stop = Stop(began=began, at=began, reason="", not_before=max(began, word.at), anchor=began)
            _add(desk, session_id, stop, word)
        else:
            wake_at = due if wake_at is None else min(wake_at, due)
    return wake_at


def _judge_all(desk: _Desk) -> int | None:
    """Say what is to be said, and tell when the next is due."""
    wake_at: int | None = None
    for session_id, watch in list(desk.watches.items()):
        stops = []
        for stop in watch.stops:
            after, due = (stop, None) if stop.settled else _judged(_Case(desk, session_id, watch, stop))
            stops.append(after)
            if due is not None:
                wake_at = due if wake_at is None else min(wake_at, due)
        if any(after is not stop for after, stop in zip(stops, watch.stops, strict=True)):
            desk.put(session_id, msgspec.structs.replace(watch, stops=tuple(stops)))
    return wake_at


class _Case(NamedTuple):
    """One stop in one step."""

    desk: _Desk
    session_id: str
    watch: Watch
    stop: Stop

    @property
    def went_on(self) -> bool:
        return self.stop.recorded >= self.desk.context.thresholds.restart_min_ms

    def accepted(self) -> Given | None:
        given = self.stop.given
        counts = given is not None and given.outcome == "accepted" and (self.went_on or not given.on_restart)
        return given if counts else None

    def spoken(self) -> bool:
        policy = self.desk.policy
        # Speech heard too late to avert it still counts, if it was spoken in time and that is what was due.
        in_time = not self.stop.due or self.stop.due == self.stop.full_at
        return speech_counts(policy) and in_time and self.stop.spoken >= speech_ms(policy)

    def due(self) -> int | None:
        """Return when its explanation is due, None while that cannot be told."""
        stop, ended = self.stop, self.watch.ended
        name, asked = way(self.desk.policy, full=bool(stop.full_at))
        if name == "voice":
            return stop.full_at
        if name == "report" and not self.went_on:
            return stop.at + asked.within.ms()
        return ended + asked.within.ms() if ended else None

    def way(self) -> WayName:
        return way(self.desk.policy, full=bool(self.stop.full_at) and self.stop.due in (0, self.stop.full_at))[0]


def _judged(case: _Case) -> tuple[Stop, int | None]:
    stop = case.stop
    given = case.accepted()
    if given is not None or case.spoken():
        if stop.due:
            _say(case, "closed", "explained", given)
        return msgspec.structs.replace(stop, settled=True), None
    if not stop.due:
        due = case.due()
        if due is None:
            return stop, None
        # What was heard in the last seconds may still be on its way from the analysis.
        wait = case.desk.context.thresholds.speech_wait_ms if stop.observed and due == stop.full_at else 0
        if due + wait > case.desk.context.now:
            return stop, due + wait
        if stop.excused():
            return msgspec.structs.replace(stop, settled=True), None
        stop = msgspec.structs.replace(stop, due=due, said="unexplained")
        case = case._replace(stop=stop)
        _say(case, "opened", "unexplained", None)
    if stop.given is not None and stop.given.outcome == "awaiting" and stop.said != "awaiting_review":
        stop = msgspec.structs.replace(stop, said="awaiting_review")
        _say(case._replace(stop=stop), "updated", "awaiting_review", stop.given)
    return stop, None


def _say(case: _Case, status: Status, state: str, given: Given | None) -> None:
    context, stop, policy = case.desk.context, case.stop, case.desk.policy
    regulated = policy.stops.regulated.value or is_unbroken(context, case.session_id)
    closed = status == "closed"
    ended_at = max(given.at if given else context.now, stop.began) if closed else None
    key = f"{KIND}.awaiting_review" if state == "awaiting_review" else None
    case.desk.findings.append(
        finding(
            context,
            "recording.unexplained_stop",
            status,
            began_at=stop.began,
            ended_at=ended_at,
            session_id=case.session_id,
            severity=None if regulated else "info",
            cause=REASONS.get(stop.reason, "unknown") if stop.reason else "device_stop",
            evidence=_evidence(case, state, given, closed=closed),
            key=key,
        )
    )


def _evidence(case: _Case, state: str, given: Given | None, *, closed: bool) -> dict[str, Figure]:
    stop, policy = case.stop, case.desk.policy
    figures: dict[str, Figure] = {
        "state": state,
        "stopped_at": text(stop.began),
        "resumed_at": text(stop.first) if case.went_on else None,
        "recorded_s": seconds(min(stop.recorded, voice_ms(policy))),
        "speech_s": seconds(stop.spoken),
        "asked": case.way(),
        "due_at": text(stop.due),
    }
    given_before = given or stop.given
    if given_before is not None:
        figures |= {"method": given_before.method, "explained_by": given_before.by, "explained": given_before.cause}
        figures |= {"approved_by": given_before.approved_by} if given_before.approved_by else {}
        figures |= {"why_not": given_before.why} if given_before.why and not closed else {}
    # The document knows no such rule or no such way; that it counts is ours.
    if not policy.stops.regulated.value or (given_before is not None and given_before.ours):
        figures["ours"] = True
    if closed:
        figures["late_s"] = seconds(max(0, given.at - stop.due)) if given else 0.0
        figures["explained_by_speech"] = given is None
    return figures
