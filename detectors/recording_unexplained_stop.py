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

What some documents demand besides, such as the writing after a report: `detectors.follow_ups`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors import follow_ups
from detectors.contract import Context, Step, is_recording, policy_of
from detectors.explanations import judge, voice_ms
from detectors.stop_desk import Case, Desk, say
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

WORD_SLACK_MS = 2_000
"""A device's word may be measured so much before the end of the media that it is about."""


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

    name = "recording.unexplained_stop/2"
    wants = frozenset[type[AnyEvent]](
        {Fragment, Telemetry, Observation, SessionStopped, SessionResumed, SessionEnded, Explanation}
    )
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        if isinstance(event, Fragment | Observation) and _is_calm(before):
            if isinstance(event, Observation) or context.is_late(event):
                return Step(before)  # nobody asks for what was said
            watch = before.watches.get(event.session_id)
            if watch is not None:
                return Step(_recorded_on(before, watch, event, context))
        desk = Desk(context, policy_of(context), [], dict(before.watches))
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


def _is_calm(state: State) -> bool:
    """Tell whether there is no stop to think of, and no word of one: nearly always."""
    if state.word is not None and not state.word.recording:
        return False
    return not any(watch.stops or watch.ended for watch in state.watches.values())


def _recorded_on(state: State, watch: Watch, event: Fragment, context: Context) -> State:
    reached = int(min(event.captured_at + ms(event.duration_s), event.at))
    session = context.knowledge.sessions.get(event.session_id)
    if reached <= watch.end or (session is not None and session.phase == "ended"):
        return state
    after = msgspec.structs.replace(watch, end=reached, used=context.now)
    return State({**state.watches, event.session_id: after}, state.word)


def _took(desk: Desk, event: AnyEvent, word: Word | None) -> Word | None:
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


def _each(desk: Desk, session_id: str, change: Any) -> None:
    """Put every stop of a session through a change."""
    watch = desk.watches.get(session_id)
    if watch is None or not watch.stops:
        return
    stops = tuple(change(stop) for stop in watch.stops)
    if any(after is not stop for after, stop in zip(stops, watch.stops, strict=True)):
        desk.put(session_id, msgspec.structs.replace(watch, stops=stops))


def _recorded(desk: Desk, event: Fragment) -> None:
    start, end = int(event.captured_at), event.captured_at + ms(event.duration_s)
    session_id, full_ms = event.session_id, voice_ms(desk.policy)
    _each(desk, session_id, lambda stop: stop.with_media(start, end, int(event.at), full_ms))
    watch = desk.watch(session_id)
    reached = min(end, int(event.at))
    session = desk.context.knowledge.sessions.get(session_id)
    if reached > watch.end and not (session and session.phase == "ended"):
        desk.put(session_id, msgspec.structs.replace(watch, end=reached))


def _observed(desk: Desk, event: Observation) -> None:
    if event.speech_s is None:
        return
    start, spoken = int(event.captured_at), ms(event.speech_s)
    _each(desk, event.session_id, lambda stop: stop.with_speech(start, start + ms(event.window_s), spoken))


def _heard_word(desk: Desk, event: Telemetry, recording: bool, word: Word | None) -> Word | None:
    delay = max(0, event.sent_at - event.device_at) if event.sent_at is not None else 0
    measured = event.at - delay
    for session_id in desk.watches:
        _each(desk, session_id, lambda stop: stop.with_word(measured, recording=recording))
    if word is not None and measured < word.at:
        return word
    same = word is not None and word.recording == recording
    return Word(measured, recording, word.since if word is not None and same else int(event.at))


def _stopped(desk: Desk, event: SessionStopped, word: Word | None) -> None:
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


def _add(desk: Desk, session_id: str, stop: Stop, word: Word | None) -> None:
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


def _ended(desk: Desk, event: SessionEnded) -> None:
    watch = desk.watches.get(event.session_id)
    if watch is not None and not watch.ended:
        desk.put(event.session_id, msgspec.structs.replace(watch, ended=int(event.at)))


def _explained(desk: Desk, event: Explanation) -> None:
    watch = desk.watches.get(event.session_id)
    session = desk.context.knowledge.sessions.get(event.session_id)
    if watch is None and (session is None or session.phase == "ended"):
        return
    watch = watch or Watch()
    given = judge(desk.policy, event)
    index = watch.meant_by(given)
    if index is None or watch.stops[index].settled:
        if index is not None:
            stop = follow_ups.answered(Case(desk, event.session_id, watch, watch.stops[index]), given)
            watch = watch.replaced(index, stop)
        desk.put(event.session_id, msgspec.structs.replace(watch, loose=given))
        return
    stop = watch.stops[index]
    if given.outranks(stop.given):
        desk.put(event.session_id, watch.replaced(index, msgspec.structs.replace(stop, given=given)))


def _notice_silence(desk: Desk, word: Word | None) -> int | None:
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


def _judge_all(desk: Desk) -> int | None:
    """Say what is to be said, and tell when the next is due."""
    wake_at: int | None = None
    for session_id, watch in list(desk.watches.items()):
        stops = []
        for stop in watch.stops:
            after, due = stop, None
            if not after.settled:
                after, due = _judged(Case(desk, session_id, watch, after))
            if after.settled and after.follow_up is not None:
                after, due = follow_ups.judged(Case(desk, session_id, watch, after))
            stops.append(after)
            if due is not None:
                wake_at = due if wake_at is None else min(wake_at, due)
        if any(after is not stop for after, stop in zip(stops, watch.stops, strict=True)):
            desk.put(session_id, msgspec.structs.replace(watch, stops=tuple(stops)))
    return wake_at


def _judged(case: Case) -> tuple[Stop, int | None]:
    stop = case.stop
    given = case.accepted()
    if given is not None or case.spoken():
        if stop.due:
            say(case, "closed", "explained", given)
        return msgspec.structs.replace(stop, settled=True, follow_up=follow_ups.demanded(case, given)), None
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
        say(case, "opened", "unexplained", None)
    if stop.given is not None and stop.given.outcome == "awaiting" and stop.said != "awaiting_review":
        stop = msgspec.structs.replace(stop, said="awaiting_review")
        say(case._replace(stop=stop), "updated", "awaiting_review", stop.given)
    return stop, None
