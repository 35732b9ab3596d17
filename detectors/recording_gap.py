"""`recording.gap`: media of a session is missing, where, how much, and why.

A gap is said when nothing within the lateness can fill it any more, and is filled by what comes later all the same:
a fragment that stood late, or footage delivered from the device. See `detectors.gap_cover` for how it is found and
`detectors.gap_causes` for why.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from detectors.contract import Context, Step, finding, seconds, text
from detectors.gap_causes import Sample, Scene, Stop, cause, note
from detectors.gap_cover import MAX_GAPS, Cover, Gap, Hole, Piece, fill, fill_number
from domain.clock import ms
from domain.events import AnyEvent, Backfilled, Fragment, SessionEnded, SessionStopped, Telemetry
from domain.findings import Finding, Status

MAX_SESSIONS = 64
"""Sessions that may still be filled; beyond it the one unused for longest is forgotten, without open gaps first."""


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        covers: What is there, by session.
        samples: What the device said.
        last_media: End of the newest media of any session.
    """

    covers: dict[str, Cover] = {}
    samples: tuple[Sample, ...] = ()
    last_media: int = 0


class RecordingGap:
    """The detector."""

    name = "recording.gap/1"
    wants = frozenset[type[AnyEvent]]({Fragment, Backfilled, SessionStopped, SessionEnded, Telemetry})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        if isinstance(event, Telemetry):
            samples = note(before.samples, event, before.last_media)
            return Step(msgspec.structs.replace(before, samples=samples), (), _wake_at(before, context))
        findings: list[Finding] = []
        if isinstance(event, Fragment | Backfilled | SessionStopped | SessionEnded):
            touched = [event.session_id]
        else:
            touched = [name for name, cover in before.covers.items() if _is_due(cover, context)]
        covers = dict(before.covers)
        for name in touched:
            covers[name] = _worked(_Job(name, context, findings), covers.get(name), event, before.samples)
        if len(covers) > MAX_SESSIONS:
            _forget(covers)
        last_media = max(before.last_media, _end(event)) if isinstance(event, Fragment) else before.last_media
        after = State(covers, before.samples, last_media) if touched else before
        return Step(after, findings, _wake_at(after, context))


def _wake_at(state: State, context: Context) -> int | None:
    moments = [
        wake
        for cover in state.covers.values()
        if (cover.pending or cover.lost) and (wake := cover.wake_at(context.thresholds.lateness_ms)) is not None
    ]
    return min(moments) if moments else None


def _is_due(cover: Cover, context: Context) -> bool:
    wake = cover.wake_at(context.thresholds.lateness_ms)
    return wake is not None and wake <= context.now


def _forget(covers: dict[str, Cover]) -> None:
    del covers[min(covers, key=lambda name: (bool(covers[name].gaps), covers[name].used, name))]


def _end(event: Fragment) -> int:
    return event.captured_at + ms(event.duration_s)


class _Job(NamedTuple):
    """One session in one step, and what is said of it."""

    session_id: str
    context: Context
    findings: list[Finding]

    def say(self, gap: Gap, status: Status, ended_at: int | None = None) -> None:
        self.findings.append(_finding(self.session_id, gap, status, self.context, ended_at))


def _worked(job: _Job, cover: Cover | None, event: AnyEvent, samples: tuple[Sample, ...]) -> Cover:
    """Return a session's cover after an event; say what follows from it."""
    cover = cover.copy() if cover is not None else Cover()
    cover.used = job.context.now
    piece = _piece(event, cover, job.context)
    if isinstance(event, SessionStopped):
        cover.add_stop(Stop(int(event.at), int(event.last_captured_at), event.reason))
    if piece is not None:
        cover.add(piece)
        if not piece.is_moment:
            _fill(job, cover, piece)
    thresholds = job.context.thresholds
    for hole in cover.settle(job.context.now, thresholds.lateness_ms, thresholds.gap_min_ms):
        gap = _said(hole, cover, samples)
        job.say(gap, "opened")
        cover.gaps.append(gap)
        del cover.gaps[:-MAX_GAPS]
    return cover


def _piece(event: AnyEvent, cover: Cover, context: Context) -> Piece | None:
    """Return what an event says of media that is there, or should be."""
    at = int(event.at)
    if isinstance(event, Fragment):
        return Piece(int(event.captured_at), _end(event), at, event.feed_id, event.seq, event.lost_packets)
    if isinstance(event, Backfilled):
        return Piece(int(event.from_), int(event.to), at) if event.to > event.from_ else None
    if cover.frontier is None:
        return None  # no media yet, so none between
    if isinstance(event, SessionStopped):
        moment = min(int(event.last_captured_at), at)
        return Piece(moment, moment, at, slack=0)
    if isinstance(event, SessionEnded) and not _was_stopped(cover):
        # What a device calls completed is less exact than a last captured moment.
        moment = min(int(event.completed_at), at)
        return Piece(moment, moment, at, slack=context.thresholds.stall_after_ms)
    return None


def _was_stopped(cover: Cover) -> bool:
    """Tell whether the latest stop has seen no media after it."""
    if not cover.stops:
        return False
    stop = cover.stops[-1]
    ends = [feed.end for feed in cover.feeds.values()] + [piece.end for piece in cover.pending]
    return max(ends, default=0) <= max(stop.at, stop.last_captured) + 1_000


def _fill(job: _Job, cover: Cover, piece: Piece) -> None:
    """Take a piece out of the gaps that it fills."""
    delivered = not piece.feed
    when = piece.at if delivered else job.context.now
    kept = []
    for gap in cover.gaps:
        if gap.hidden and not delivered:
            after = fill_number(gap, piece.feed, piece.seq)
        else:
            after = fill(gap, piece.start, piece.end, job.context.thresholds.gap_min_ms)
        if after.spans:
            kept.append(after)
        if after is not gap:
            job.say(after, "updated" if after.spans else "closed", None if after.spans else when)
    cover.gaps = kept


def _said(hole: Hole, cover: Cover, samples: tuple[Sample, ...]) -> Gap:
    lost = sum(one.count for one in hole.numbers)
    in_feed = sum(one.count for one in hole.numbers if one.longest)
    scene = Scene(
        began=hole.start,
        ended=hole.end,
        clock_moved=hole.hidden,
        numbers_lost=in_feed,
        packets_lost=hole.after is not None and hole.after.packets_lost > 0,
        feed_changed=hole.feed_changed,
        stops=tuple(cover.stops),
        samples=samples,
    )
    return Gap(
        start=hole.start,
        end=hole.end,
        fragments_lost=lost,
        cause=cause(scene),
        spans=((hole.start, hole.end),),
        numbers=hole.numbers if hole.hidden else (),
        hidden=hole.hidden,
    )


def _finding(session_id: str, gap: Gap, status: Status, context: Context, ended_at: int | None = None) -> Finding:
    return finding(
        context,
        "recording.gap",
        status,
        began_at=gap.start,
        ended_at=ended_at,
        session_id=session_id,
        cause=gap.cause,
        # Two gaps may begin at one moment where the numbers alone tell of the second.
        subject="numbers" if gap.hidden else "",
        evidence={
            "from": text(gap.start),
            "to": text(gap.end),
            "seconds": seconds(gap.missing_ms),
            "fragments_lost": gap.fragments_lost,
            **({"missing": [[text(low), text(high)] for low, high in gap.spans]} if status == "updated" else {}),
        },
    )
