"""`recording.stalled`: media is expected, and none comes.

Watched are each session that is recording, and, while none is, a recorder that is expected to record at all times.
Silence runs from the end of the last fragment (never later than its arrival) and is a stall after `stall_after_ms`;
where nothing has come since opening, resuming or registering, after `stall_after_open_ms` from there.

Fragments arrive whole, so the next one is not heard of until it has ended. A feed of 4 s fragments that arrive 1.1 s
after their end would "stall" between any two of them. Silence therefore also has to outlast the next fragment: the
longest of the last eight, plus a second, plus up to two more where arrivals have been uneven or are not known yet.
For even fragments of up to 2 s that arrive within 1.5 s of their end, this never delays anything. Where media comes
seconds after its capture, as in a burst or by a capture clock that is slow, silence counts from the newest arrival.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, is_recording, seconds, text
from domain.clock import ms
from domain.events import (
    AnyEvent,
    Fragment,
    RecorderRegistered,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
)
from domain.findings import Finding

PACE_FRAGMENTS = 8
PACE_MARGIN_MS = 1_000
PACE_UNEVEN_MS = 2_000
PACE_SHORT_MS = 2_000
PACE_BEHIND_MS = 3_000
"""Media that all comes so long after its end says by its end nothing of how long it has been silent."""
LONGEST_MS = 30_000
"""A fragment said to be longer is not believed."""

RECORDER = ""
"""Key of the watch over a recorder that records at all times; session ids are never empty."""


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """What was heard of one session, or of the recorder.

    Attributes:
        end: End of the media, by capture time; 0 before any.
        heard: Arrival of the newest fragment.
        patience: How long after `heard` the next fragment may take.
        began: Beginning of the stall that is open; 0 for none.
        last_began: Beginning of the latest stall said.
    """

    end: int = 0
    heard: int = 0
    patience: int = 0
    began: int = 0
    last_began: int = 0


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        watches: By session id, or `RECORDER`; one for each session that is recording.
        pace: Length and delay of the last fragments, milliseconds.
    """

    watches: dict[str, Watch] = {}
    pace: tuple[tuple[int, int], ...] = ()


class RecordingStalled:
    """The detector."""

    name = "recording.stalled/1"
    wants = frozenset[type[AnyEvent]](
        {RecorderRegistered, SessionOpened, SessionResumed, SessionStopped, SessionEnded, Fragment}
    )
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        watches, pace = before.watches, before.pace
        findings: list[Finding] = []
        if isinstance(event, Fragment) and not context.is_late(event):
            pace = _paced(pace, event)
            watches = _heard(watches, event, pace, context, findings)
        started = _expected(context)
        watches = _dropped(watches, started, event, context, findings)
        watches, wake_at = _judged(watches, started, context, findings)
        after = before if watches is before.watches and pace is before.pace else State(watches, pace)
        return Step(after, findings, wake_at)


def _paced(pace: tuple[tuple[int, int], ...], event: Fragment) -> tuple[tuple[int, int], ...]:
    length = min(ms(event.duration_s), LONGEST_MS)
    delay = max(0, event.at - event.captured_at - length)
    return (*pace, (length, delay))[-PACE_FRAGMENTS:]


def _patience(pace: tuple[tuple[int, int], ...], stall_after_ms: int) -> int:
    longest = max(length for length, _ in pace)
    uneven = max(delay for _, delay in pace) - pace[-1][1]
    if longest > PACE_SHORT_MS and len(pace) < PACE_FRAGMENTS:
        uneven = PACE_UNEVEN_MS  # not known yet
    patience = longest + PACE_MARGIN_MS + min(uneven, PACE_UNEVEN_MS)
    is_behind = min(delay for _, delay in pace) > PACE_BEHIND_MS
    return max(patience, stall_after_ms) if is_behind else patience


def _heard(
    watches: dict[str, Watch],
    event: Fragment,
    pace: tuple[tuple[int, int], ...],
    context: Context,
    findings: list[Finding],
) -> dict[str, Watch]:
    """Note media, and close what it ends."""
    end = min(event.captured_at + ms(event.duration_s), event.at)
    patience = _patience(pace, context.thresholds.stall_after_ms)
    noted = dict(watches)
    for name in (event.session_id, RECORDER):
        known = noted.get(name)
        if known is None:
            known = Watch()
        if known.began:
            findings.append(_closed(name, known, int(event.at), "media", context))
        noted[name] = Watch(max(known.end, end), max(known.heard, event.at), patience, 0, known.last_began)
    return noted


def _expected(context: Context) -> dict[str, int]:
    """Return what is watched, and since when media has been expected of it."""
    sessions = context.knowledge.sessions
    started = {name: session.since for name, session in sessions.items() if is_recording(session)}
    registration = context.knowledge.registration
    if not started and registration is not None and registration.continuous:
        started[RECORDER] = max([registration.since, *(session.since for session in sessions.values())])
    return started


def _dropped(
    watches: dict[str, Watch], started: dict[str, int], event: AnyEvent, context: Context, findings: list[Finding]
) -> dict[str, Watch]:
    """Close and forget what is no longer watched; the recorder's own watch is kept for when it is needed again."""
    gone = [name for name, watch in watches.items() if name not in started and (name != RECORDER or watch.began)]
    if not gone:
        return watches
    kept = dict(watches)
    for name in gone:
        watch = kept.pop(name)
        if watch.began:
            findings.append(_closed(name, watch, int(event.at), "no longer expected", context))
        if name == RECORDER:
            kept[name] = msgspec.structs.replace(watch, began=0)
    return kept


def _judged(
    watches: dict[str, Watch], started: dict[str, int], context: Context, findings: list[Finding]
) -> tuple[dict[str, Watch], int | None]:
    """Open what is due, and tell when the next one will be."""
    wake_at: int | None = None
    for name, since in started.items():
        watch = watches.get(name) or Watch()
        if watch.began:
            continue
        due = _due(watch, since, context)
        if due > context.now:
            wake_at = due if wake_at is None else min(wake_at, due)
            continue
        began = watch.end if watch.end > since else since
        if began <= watch.last_began:
            began = max(watch.heard, watch.last_began + 1)  # its media brought nothing new, yet it was media
        watch = msgspec.structs.replace(watch, began=began, last_began=began)
        watches = {**watches, name: watch}
        findings.append(_opened(name, watch, context))
    return watches, wake_at


def _due(watch: Watch, since: int, context: Context) -> int:
    thresholds = context.thresholds
    if watch.end <= since and watch.heard <= since:
        return since + thresholds.stall_after_open_ms
    due = max(watch.end + thresholds.stall_after_ms, watch.heard + watch.patience)
    return due if watch.end > since else max(due, since + thresholds.stall_after_open_ms)


def _opened(name: str, watch: Watch, context: Context) -> Finding:
    return finding(
        context,
        "recording.stalled",
        "opened",
        began_at=watch.began,
        session_id=name or None,
        evidence={
            "last_media_at": text(watch.end) if watch.end else None,
            "silent_s": seconds(context.now - watch.began),
        },
    )


def _closed(name: str, watch: Watch, at: int, ended_by: str, context: Context) -> Finding:
    ended = max(at, watch.began)
    return finding(
        context,
        "recording.stalled",
        "closed",
        began_at=watch.began,
        ended_at=ended,
        session_id=name or None,
        evidence={
            "last_media_at": text(watch.end) if watch.end else None,
            "silent_s": seconds(ended - watch.began),
            "ended_by": ended_by,
        },
    )
