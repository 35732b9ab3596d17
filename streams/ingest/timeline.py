"""Where access units stand on a segment's timeline: presentation times from the sender's, decode times derived.

RTP carries presentation times only. A fragment needs decode times too: strictly rising, never beyond the presentation
time. With pictures reordered by at most `depth` places, the decode time of a picture is the smallest of the last
`depth` + 1 presentation times, as in the output of a decoder with that much delay; the whole segment is shifted by that
delay, sound too, so that pictures and sound stay together.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

MAX_DEPTH: Final = 16
"""Pictures that a decoder may have to hold back: the largest decoded picture buffer of H.264 and H.265."""


class Lane(msgspec.Struct):
    """One track's place in the segment. Times in ticks of the track.

    Attributes:
        zero: What to add to a `pts` to get the time in the segment.
        last_dts: Decode time of the last sample; -1 before the first.
        held: Presentation times not yet given out as decode times, rising; as many as the reordering is deep.
        last_duration: Decode time between the last two samples.
    """

    zero: int
    last_dts: int = -1
    held: list[int] = []
    last_duration: int = 0


class Timed(msgspec.Struct):
    """Decode times and composition offsets of a run of samples.

    Attributes:
        dts: Strictly rising.
        offsets: Presentation − decode time, never negative; empty where all are 0.
        repaired: How many presentation times had to be moved later to stand at their decode time.
    """

    dts: list[int]
    offsets: list[int]
    repaired: int = 0


def ticks(milliseconds: int, clock_rate: int) -> int:
    """Convert a duration to the nearest tick."""
    return (milliseconds * clock_rate + 500) // 1000


def rising(values: Sequence[int]) -> bool:
    """Tell whether each value is greater than the one before."""
    return all(earlier < later for earlier, later in pairwise(values))


def reorder_depth(pts: Sequence[int]) -> int:
    """Return the most pictures that stand before another in decoding order and after it in presentation.

    At most `MAX_DEPTH`; what goes back further is no reordering.
    """
    if rising(pts):
        return 0
    depth = 0
    latest: list[int] = []
    for time in pts:
        depth = max(depth, len(latest) - bisect_right(latest, time))
        insort(latest, time)
        del latest[:-MAX_DEPTH]
    return depth


def frame_interval(pts: Sequence[int]) -> int:
    """Return the mean distance of presentation times in ticks, rounded up; 0 for a single one."""
    return -((min(pts) - max(pts)) // (len(pts) - 1)) if len(pts) > 1 else 0


def lane_from(pts: Sequence[int], starts_at: int, depth: int) -> Lane:
    """Put a track on the segment's timeline.

    Args:
        pts: The sender's presentation times in decoding order; the first stands at `starts_at`.
        starts_at: Time in the segment, ticks.
        depth: Reordering of the segment; the places held back are filled as if pictures had come before.
    """
    zero = starts_at - pts[0]
    interval = frame_interval(pts)
    return Lane(zero, held=[min(pts) + zero - place * interval for place in range(depth, 0, -1)])


def place(lane: Lane, pts: Sequence[int]) -> Timed:
    """Give the next samples of a track their decode times, and move the lane on.

    Args:
        lane: Changed in place.
        pts: The sender's presentation times, in decoding order.
    """
    times = [time + lane.zero for time in pts]
    if not lane.held and times[0] > lane.last_dts and rising(times):
        timed = Timed(times, [])
    else:
        timed = _reordered(lane, times)
    if len(timed.dts) > 1:
        lane.last_duration = timed.dts[-1] - timed.dts[-2]
    lane.last_dts = timed.dts[-1]
    return timed


def _reordered(lane: Lane, times: Sequence[int]) -> Timed:
    timed = Timed([], [])
    held, last = lane.held, lane.last_dts
    for time in times:
        insort(held, time)
        last = max(held.pop(0), last + 1)
        timed.dts.append(last)
        timed.repaired += last > time
        timed.offsets.append(max(0, time - last))
    return timed
