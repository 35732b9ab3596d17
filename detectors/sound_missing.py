"""`sound.missing`: media comes of a recorder that should be heard, and no sound with it, or nothing but silence.

A fragment says whether it has sound at all, an observation how loud it is. A fragment with sound that nobody has
listened to says nothing of its level: analysis may have more urgent things to do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, is_recording
from domain.clock import ms
from domain.events import AnyEvent, Fragment, Observation, SessionEnded
from domain.findings import Figure, Finding

CALM_MS = 10_000
"""Sound must last so long, by capture time, to be there again."""
APART_MS = 150_000
"""Signs further apart are no row: nobody knows what was between."""
BEHIND_MS = 60_000
LONGEST_MS = 30_000
SLACK_MS = 10_000
"""A session's first media may be captured so long before its opening or resumption is heard of. A row that began
earlier began before a stop, and does not run on."""
SOUND = frozenset({"aac", "pcma", "pcmu", "opus"})


class State(msgspec.Struct, frozen=True):
    """State of the detector. Moments are capture times.

    Attributes:
        since: Start of the row: without sound while closed, with sound while open; 0 for none.
        until: End of the newest sign.
        why: What the row, or the open finding, rests on: no track, or a level.
        level: The loudest of the row, dBFS; None where none was measured.
        began: Beginning of the finding that is open; 0 for none.
        session_id: Its session.
    """

    since: int = 0
    until: int = 0
    why: str = ""
    level: float | None = None
    began: int = 0
    session_id: str = ""


class SoundMissing:
    """The detector."""

    name = "sound.missing/1"
    wants = frozenset[type[AnyEvent]]({Fragment, Observation, SessionEnded})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        if isinstance(event, SessionEnded):
            return _ended(before, event, context)
        if not isinstance(event, Fragment | Observation) or not _counts(before, event, context):
            return Step(before)
        sign = _sign(before, event, context)
        if sign is None:
            return Step(before)
        return _noted(before, event, sign, context)


def _ended(state: State, event: SessionEnded, context: Context) -> Step:
    if not state.began or state.session_id != event.session_id:
        return Step(state)
    said = _said(state, context, int(event.completed_at), {"ended_by": "session ended"})
    return Step(State(until=state.until), [said])


def _counts(state: State, event: Fragment | Observation, context: Context) -> bool:
    registration = context.knowledge.registration
    session = context.knowledge.sessions.get(event.session_id)
    expected = registration is not None and registration.expects_audio and session is not None
    if not expected or session is None or not is_recording(session) or context.is_late(event):
        return False
    # What was captured before a stop may come after it; it says nothing of what follows.
    return not state.until - BEHIND_MS < event.captured_at < state.since


def _sign(state: State, event: Fragment | Observation, context: Context) -> tuple[bool, str, float | None] | None:
    """Return whether there is sound, what says so, and how loud it is; None where the event does not tell."""
    if isinstance(event, Fragment):
        has_track = not SOUND.isdisjoint(event.codec.split(","))
        # A track that is there again speaks against "no track", not against silence.
        return None if has_track and state.why != "no_track" else (has_track, "no_track", None)
    if event.audio_dbfs is None:
        return None
    return event.audio_dbfs > context.thresholds.sound_missing_dbfs, "level", event.audio_dbfs


def _noted(state: State, event: Fragment | Observation, sign: tuple[bool, str, float | None], context: Context) -> Step:
    is_sound, why, level = sign
    length = ms(event.duration_s) if isinstance(event, Fragment) else ms(event.window_s)
    start = int(event.captured_at)
    end = start + min(length, LONGEST_MS)
    if is_sound != bool(state.began):
        return Step(
            msgspec.structs.replace(state, since=0, until=end, why=state.why if state.began else "", level=None)
        )
    began_at = context.knowledge.sessions[event.session_id].since
    row_runs = -BEHIND_MS < start - state.until <= APART_MS and state.since >= began_at - SLACK_MS
    since = min(state.since, start) if row_runs else start
    until = max(state.until, end) if row_runs else end
    known = [one for one in (state.level if row_runs else None, level) if one is not None]
    loudest = max(known, default=None)
    after = msgspec.structs.replace(
        state, since=since, until=until, why=state.why if state.began else why, level=loudest
    )
    if until - since < (CALM_MS if state.began else context.thresholds.sound_missing_after_ms):
        return Step(after)
    evidence: dict[str, Figure] = {"audio_dbfs": loudest, "found_by": why}
    if state.began:
        return Step(State(until=until), [_said(state, context, since, evidence)])
    after = State(until=until, why=why, began=since, session_id=event.session_id)
    return Step(after, [_said(after, context, None, evidence)])


def _said(state: State, context: Context, ended_at: int | None, evidence: dict[str, Figure]) -> Finding:
    return finding(
        context,
        "sound.missing",
        "opened" if ended_at is None else "closed",
        began_at=state.began,
        ended_at=ended_at,
        session_id=state.session_id,
        evidence=evidence,
    )
