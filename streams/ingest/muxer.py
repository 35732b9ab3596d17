"""What stands in a fragment: samples, times, segment, hash. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from domain.clock import Instant
from domain.media import AccessUnit, TrackParams
from streams.ingest.limits import Limits
from streams.ingest.mp4.init import init_segment
from streams.ingest.mp4.moof import NOT_SYNC, SYNC, Run
from streams.ingest.mp4.moof import fragment as movie_fragment
from streams.ingest.timeline import Lane, frame_interval, lane_from, place, reorder_depth, ticks

JUMP_MS: Final = 1_000
"""Media clock and capture time of a track may part so far from one unit to the next before they are tied anew."""
BACK_MS: Final = 2_000
"""Going back further than this is no reordering of pictures."""
OVERDUE_SLOTS: Final = 2
"""A segment runs at most so many of its lengths on without a keyframe at which it could end."""
_DEFAULT_FRAME_MS: Final = {True: 40, False: 20}


class CutFragment(msgspec.Struct, frozen=True):
    """One fragment, self-contained.

    Attributes:
        seq: 0, 1, 2… in the feed.
        captured_at: Capture time of its first unit.
        duration_ms: To the end of its last unit; sound that rings on beyond the longest fragment is not counted.
        data: Init segment, movie fragment header and media data.
        sha256: Of `data`.
        codecs: Of the tracks that have units in it, picture first.
        lost_packets: Packets known missing in it, or before it since the fragment before.
        starts_segment: Decode times begin at 0 again.
        starts_with_keyframe: Decoding can start here; always so where there are no pictures in the feed.
        learnt_at: Arrival of the latest packet by which it was known to be whole.
        units: How many access units are in it.
        repaired_times: Presentation times moved because the sender's went back.
    """

    seq: int
    captured_at: Instant
    duration_ms: int
    data: bytes
    sha256: str
    codecs: str
    lost_packets: int
    starts_segment: bool
    starts_with_keyframe: bool
    learnt_at: Instant
    units: int
    repaired_times: int = 0


class Progress(msgspec.Struct):
    """All that later fragments depend on, once a fragment is cut.

    Attributes:
        has_video: Whether pictures are expected: the feed begins at a keyframe then.
        started: The first unit was admitted.
        waiting_since: Arrival of the first unit of all.
        seq: Number of the next fragment.
        main: Track whose keyframes cut.
        tracks: Tracks of the segment's init segment, in order.
        lanes: Their places on the segment's timeline.
        base: Capture time that is 0 on it, but for `shift_ms`.
        segment_at: Capture time of the segment's first picture (or sound).
        shift_ms: Delay of the whole segment, for the reordering of its pictures.
        depth: Most reordering seen in the feed.
        segment_due: A segment begins at the next keyframe: a gap or a jump of a clock is in this one.
        last: Last unit of each track, without its bytes.
        intervals_ms: Capture time between the last two units of each track.
        lost: Packets lost and not yet reported in a fragment.
        arrived_at: Latest arrival of all.
    """

    has_video: bool = True
    started: bool = False
    waiting_since: Instant | None = None
    seq: int = 0
    main: int | None = None
    tracks: dict[int, TrackParams] = {}
    lanes: dict[int, Lane] = {}
    base: Instant = Instant(0)
    segment_at: Instant = Instant(0)
    shift_ms: int = 0
    depth: int = 0
    segment_due: bool = False
    last: dict[int, AccessUnit] = {}
    intervals_ms: dict[int, int] = {}
    lost: int = 0
    arrived_at: Instant = Instant(0)


def jumps(before: AccessUnit, unit: AccessUnit) -> bool:
    """Tell whether a track's media clock and its capture times part between two units, or both go far back."""
    captured_ms = unit.captured_at - before.captured_at
    media_ms = (unit.pts - before.pts) * 1000 // unit.params.clock_rate
    return abs(media_ms - captured_ms) > JUMP_MS or captured_ms < -BACK_MS


class _Contents(msgspec.Struct):
    """What is in a fragment.

    Attributes:
        tracks: Units of each track, picture first.
        pictures: Those of the main track; None where it has none here.
        captured_at: Capture time of the first unit of any track.
        reference: Capture time by which the segment is chosen: of the first picture, where there is one.
        starts_with_keyframe: Decoding can start here.
        depth: Reordering of the pictures.
    """

    tracks: dict[int, list[AccessUnit]]
    pictures: list[AccessUnit] | None
    captured_at: Instant
    reference: Instant
    starts_with_keyframe: bool
    depth: int

    @classmethod
    def of(cls, units: Sequence[AccessUnit], main: int | None) -> _Contents:
        tracks: dict[int, list[AccessUnit]] = {}
        for unit in units:
            tracks.setdefault(unit.track, []).append(unit)
        tracks = {track: tracks[track] for track in sorted(tracks, key=lambda track: (track != main, track))}
        pictures = tracks.get(main) if main is not None else None
        captured_at = min(unit.captured_at for unit in units)
        return cls(
            tracks=tracks,
            pictures=pictures,
            captured_at=captured_at,
            reference=pictures[0].captured_at if pictures else captured_at,
            starts_with_keyframe=main is None or bool(pictures and pictures[0].keyframe),
            depth=reorder_depth([unit.pts for unit in pictures]) if pictures else 0,
        )


def build(progress: Progress, units: Sequence[AccessUnit], main: int | None, limits: Limits) -> CutFragment:
    """Make the next fragment of these units, and move `progress` on behind it.

    Args:
        progress: Changed in place.
        units: At least one; each track's in decoding order.
        main: Track whose keyframes cut, None without pictures.
        limits: How long a segment is.
    """
    progress.main = main
    contents = _Contents.of(units, main)
    starts_segment = _starts_segment(progress, contents, limits)
    if starts_segment:
        _begin_segment(progress, contents, limits)
    elif _is_behind_gap(progress, contents, limits):
        progress.segment_due = True
    runs, repaired = _runs(progress, contents.tracks)
    init = init_segment(tuple(progress.tracks.values()))
    data = b"".join([init, *movie_fragment(progress.seq + 1, runs)])
    ends_at = max(_ends_at(progress, track, run) for track, run in contents.tracks.items())
    fragment = CutFragment(
        seq=progress.seq,
        captured_at=contents.captured_at,
        duration_ms=min(max(0, min(ends_at, progress.arrived_at) - contents.captured_at), limits.max_ms),
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        codecs=",".join(run[0].params.codec for run in contents.tracks.values()),
        lost_packets=progress.lost + sum(unit.lost_packets for unit in units),
        starts_segment=starts_segment,
        starts_with_keyframe=contents.starts_with_keyframe,
        learnt_at=progress.arrived_at,
        units=len(units),
        repaired_times=repaired,
    )
    _move_on(progress, contents.tracks)
    return fragment


def _is_behind_gap(progress: Progress, contents: _Contents, limits: Limits) -> bool:
    latest = max((unit.captured_at for unit in progress.last.values()), default=Instant(0))
    return contents.captured_at - latest > limits.gap_ms


def _starts_segment(progress: Progress, contents: _Contents, limits: Limits) -> bool:
    if any(progress.tracks.get(track) != units[0].params for track, units in contents.tracks.items()):
        return True
    slots_on = limits.slot(contents.reference) - limits.slot(progress.segment_at)
    if slots_on >= OVERDUE_SLOTS:
        return True
    return contents.starts_with_keyframe and (
        slots_on > 0
        or progress.segment_due
        or contents.depth > progress.depth
        or _is_behind_gap(progress, contents, limits)
        or any(_jumped(progress, track, units[0]) for track, units in contents.tracks.items())
    )


def _jumped(progress: Progress, track: int, unit: AccessUnit) -> bool:
    last = progress.last.get(track)
    return last is not None and jumps(last, unit)


def _begin_segment(progress: Progress, contents: _Contents, limits: Limits) -> None:
    """Start the timeline anew at 0, and describe the tracks that are there or were lately."""
    progress.depth = max(contents.depth, progress.depth)
    lately = contents.captured_at.plus(-limits.segment_ms)
    described = {track: units[0].params for track, units in contents.tracks.items()}
    for track, last in progress.last.items():
        if track not in described and last.captured_at >= lately:
            described[track] = last.params
    order = sorted(described, key=lambda track: (track != progress.main, track))
    progress.tracks = {track: described[track] for track in order}
    progress.lanes = {}
    progress.base, progress.segment_at = contents.captured_at, contents.reference
    progress.segment_due = False
    progress.shift_ms = _shift_ms(progress, contents.pictures)


def _shift_ms(progress: Progress, pictures: list[AccessUnit] | None) -> int:
    if not progress.depth or not pictures:
        return 0
    interval = frame_interval([unit.pts for unit in pictures])
    delay_ms = -(-progress.depth * interval * 1000 // pictures[0].params.clock_rate)
    behind_sound_ms = min(unit.captured_at for unit in pictures) - progress.base
    return max(0, delay_ms - behind_sound_ms)


def _runs(progress: Progress, tracks: dict[int, list[AccessUnit]]) -> tuple[list[Run], int]:
    numbers = {track: number for number, track in enumerate(progress.tracks, 1)}
    runs: list[Run] = []
    repaired = 0
    for track, units in tracks.items():
        pts = [unit.pts for unit in units]
        lane = _lane(progress, track, units[0], pts)
        timed = place(lane, pts)
        repaired += timed.repaired
        last = lane.last_duration or ticks(_frame_ms(units[0]), units[0].params.clock_rate)
        durations = [after - before for before, after in zip(timed.dts, timed.dts[1:], strict=False)]
        durations.append(last)
        is_video = units[0].params.codec.is_video
        flags = [SYNC if unit.keyframe else NOT_SYNC for unit in units] if is_video else None
        samples = [unit.data for unit in units]
        runs.append(Run(numbers[track], timed.dts[0], samples, durations, flags, timed.offsets or None))
    return runs, repaired


def _lane(progress: Progress, track: int, unit: AccessUnit, pts: Sequence[int]) -> Lane:
    """Return the track's lane, tied to the capture times where it is new or its clock has jumped."""
    lane = progress.lanes.get(track)
    if lane is not None and not _jumped(progress, track, unit):
        return lane
    depth = progress.depth if track == progress.main else 0
    starts_at = ticks(unit.captured_at - progress.base + progress.shift_ms, unit.params.clock_rate)
    if lane is None:
        new = lane_from(pts, starts_at, depth)
    else:
        progress.segment_due = True
        earliest = lane.last_dts + 1 + depth * frame_interval(pts) + pts[0] - min(pts)
        new = lane_from(pts, max(starts_at, earliest), depth)
        new.last_dts = lane.last_dts
        new.last_duration = lane.last_duration
    progress.lanes[track] = new
    return new


def _ends_at(progress: Progress, track: int, units: Sequence[AccessUnit]) -> Instant:
    """Return when the last unit of a track ends; a gap before it is not taken for its length."""
    captured = [unit.captured_at for unit in units[-4:]]
    if track in progress.last:
        captured.insert(0, progress.last[track].captured_at)
    captured.sort()
    latest = captured[-1]
    intervals = [after - before for before, after in pairwise(captured[-3:])]
    if len(captured) == 2 and track in progress.intervals_ms:
        intervals.append(progress.intervals_ms[track])
    return latest.plus(min(intervals, default=_frame_ms(units[0])))


def _frame_ms(unit: AccessUnit) -> int:
    return _DEFAULT_FRAME_MS[unit.params.codec.is_video]


def _move_on(progress: Progress, tracks: dict[int, list[AccessUnit]]) -> None:
    for track, units in tracks.items():
        before = units[-2] if len(units) > 1 else progress.last.get(track)
        if before is not None:
            progress.intervals_ms[track] = abs(units[-1].captured_at - before.captured_at)
        progress.last[track] = msgspec.structs.replace(units[-1], data=b"")
    progress.seq += 1
    progress.lost = 0
