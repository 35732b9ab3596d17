"""Where a feed is cut into fragments. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from domain.clock import Instant
from domain.media import AccessUnit
from streams.ingest.limits import Limits
from streams.ingest.muxer import JUMP_MS, Progress, jumps

MIN_FRAGMENT_MS: Final = 900
"""A keyframe sooner than this after the start of a fragment does not end it, else an all-intra camera would give
25 records a second. A new segment begins at a keyframe however soon."""
SOUND_FRAGMENT_MS: Final = 2_000
"""Length of fragments of a feed without pictures."""
LATE_SOUND_MS: Final = 300
"""How long a cut waits for sound that was captured before it and has not arrived yet."""
ACTIVE_MS: Final = 2_000
"""A track silent for longer is not waited for."""
SIZE_SLACK: Final = 1.25
"""A GOP of about the largest size is left whole rather than parted a picture before its end."""
_ROUNDING_MS: Final = 10


class Cut(NamedTuple):
    """A cut that has been decided.

    Attributes:
        first: Index of the first pending unit of the next fragment, on the main track.
        at: Units of other tracks go before or behind the cut by capture time; None: by order of arrival, at once.
        wait_until: Arrival time at which late sound is not waited for any more.
    """

    first: int
    at: Instant | None
    wait_until: Instant


class Opening(msgspec.Struct):
    """What the cutting looks at of the fragment being gathered.

    Attributes:
        main: The track whose keyframes cut: the first with pictures; None while there is none.
        last: Newest unit of each track, those of earlier fragments (without their bytes) included.
        latest: Latest capture time of any track.
        main_at: Capture time of the newest unit of the main track in this fragment.
        is_mid_gop: The first unit of the main track in this fragment is no keyframe.
        size_bytes: Bytes of the pending units.
    """

    main: int | None
    last: dict[int, AccessUnit]
    latest: Instant | None
    main_at: Instant | None = None
    is_mid_gop: bool = False
    size_bytes: int = 0

    @classmethod
    def after(cls, progress: Progress) -> Opening:
        """Start anew behind the last fragment."""
        last = dict(progress.last)
        latest = max((unit.captured_at for unit in last.values()), default=None)
        return cls(progress.main, last, latest)

    def add(self, unit: AccessUnit) -> None:
        """Take a pending unit in."""
        track, at = unit.track, unit.captured_at
        if (self.main is None or track < self.main) and unit.params.codec.is_video:
            self.main = track
        if track == self.main:
            if self.main_at is None:
                self.is_mid_gop = not unit.keyframe
            self.main_at = at
        self.last[track] = unit
        self.size_bytes += len(unit.data)
        if self.latest is None or at > self.latest:
            self.latest = at


def find_cut(first: AccessUnit, index: int, opening: Opening, unit: AccessUnit, limits: Limits) -> Cut | None:
    """Decide whether a unit begins a new fragment.

    Args:
        first: First pending unit.
        index: How many units are pending.
        opening: The fragment so far, without the unit.
        unit: The unit that comes next.
        limits: How long and large a fragment gets.
    """
    if _breaks_off(opening, unit, limits):
        return Cut(index, None, unit.arrived_at)
    start, at = first.captured_at, unit.captured_at
    is_main = unit.track == opening.main
    if is_main and unit.keyframe and at > start:
        new_segment = limits.slot(at) > limits.slot(start)
        if new_segment or opening.is_mid_gop or at - start >= MIN_FRAGMENT_MS:
            return Cut(index, at, unit.arrived_at.plus(LATE_SOUND_MS))
    if opening.main is None or (not is_main and _main_is_away(opening, at)):
        return _cut_sound(index, opening, start, unit, limits)
    if is_main and _is_full(opening, start, unit, limits):
        return Cut(index, at if at > start else None, unit.arrived_at.plus(LATE_SOUND_MS))
    if not is_main and at - start > limits.max_ms + LATE_SOUND_MS:
        return Cut(index, start.plus(limits.max_ms), unit.arrived_at)
    return None


def ready(cut: Cut, opening: Opening, unit: AccessUnit, limits: Limits) -> bool:
    """Tell whether a cut can be carried out: the sound before it has arrived, or has had its time."""
    at = cut.at
    if at is None or unit.arrived_at >= cut.wait_until or opening.size_bytes >= 2 * limits.max_bytes:
        return True
    return all(
        last.captured_at >= at or last.captured_at < at - ACTIVE_MS
        for track, last in opening.last.items()
        if track != opening.main
    )


def part(pending: list[AccessUnit], cut: Cut, main: int | None) -> tuple[list[AccessUnit], list[AccessUnit]]:
    """Part pending units into those of the fragment and those behind the cut, each in its track's order."""
    if cut.at is None:
        return pending[: cut.first], pending[cut.first :]
    inside: list[AccessUnit] = []
    rest: list[AccessUnit] = []
    behind: set[int] = set()
    for index, unit in enumerate(pending):
        if unit.track == main:
            (inside if index < cut.first else rest).append(unit)
        elif unit.track in behind or unit.captured_at >= cut.at:
            behind.add(unit.track)
            rest.append(unit)
        else:
            inside.append(unit)
    return inside, rest


def _breaks_off(opening: Opening, unit: AccessUnit, limits: Limits) -> bool:
    """Tell whether what came before cannot run on into this unit: other parameters, a jump of the clock, a gap."""
    last = opening.last.get(unit.track)
    if last is not None:
        if unit.params is not last.params and unit.params != last.params:
            return True
        if jumps(last, unit):
            return True
    return opening.latest is not None and unit.captured_at - opening.latest > limits.gap_ms


def _is_full(opening: Opening, start: Instant, unit: AccessUnit, limits: Limits) -> bool:
    last = opening.last.get(unit.track)
    # Capture times are whole milliseconds: a GOP of just the longest length must not be cut a frame before its end.
    interval = min(max(0, unit.captured_at - last.captured_at), JUMP_MS) if last is not None else 0
    if unit.captured_at + interval - start > limits.max_ms + _ROUNDING_MS:
        return True
    return opening.size_bytes + len(unit.data) > limits.max_bytes * SIZE_SLACK


def _main_is_away(opening: Opening, at: Instant) -> bool:
    return opening.main_at is None or at - opening.main_at > ACTIVE_MS


def _cut_sound(index: int, opening: Opening, start: Instant, unit: AccessUnit, limits: Limits) -> Cut | None:
    at = unit.captured_at
    due = at - start >= min(SOUND_FRAGMENT_MS, limits.max_ms) or limits.slot(at) > limits.slot(start)
    if due or _is_full(opening, start, unit, limits):
        return Cut(index, None, unit.arrived_at)
    return None
