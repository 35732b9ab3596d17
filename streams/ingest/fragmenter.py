"""Access units in, self-contained fragments out. Pure: time comes only from the units.

Invariants:

1. Every admitted unit is in exactly one fragment, bytes unchanged, in its track's order.
2. The same units in the same order give the same fragments, byte for byte; also after `restore`.
3. A fragment is at most `max_ms` long and about `max_bytes` large, and never parts a unit.
4. A fragment that begins a segment carries decode times from 0; the fragments of a segment, the init segment of the
   first and the movie fragments of all, one behind the other, play by themselves.

Where cuts fall is decided in `streams.ingest.cuts`, what is in a fragment in `streams.ingest.muxer`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit, TrackParams
from domain.topics import MAX_RECORD_BYTES
from streams.ingest.cuts import Cut, Opening, find_cut, part, ready
from streams.ingest.limits import Limits
from streams.ingest.mp4.init import init_segment
from streams.ingest.muxer import CutFragment, Progress, build

START_WAIT_MS = 12_000
"""How long a feed waits for its first keyframe; senders that refresh pictures bit by bit never send one."""
LEAD_MS = 2_000
LEAD_UNITS = 256
"""How much sound is held until the first keyframe shows which of it belongs to the picture: a picture is whole only
when the next one begins, so the sound beside the first has always arrived before it. Beyond that the oldest is dropped,
and counted."""
LARGEST_UNIT_BYTES = MAX_RECORD_BYTES - 256 * 1024
"""A unit beyond this cannot travel in one record of the log, whatever is cut."""
_NOTHING: tuple[AccessUnit, ...] = ()


class Fragmenter:
    """Cuts one feed. Not thread-safe; every method returns at once.

    Attributes:
        dropped: Units that are in no fragment, by reason: `before_keyframe`, `oversize`, `undescribed`. Each is also
            counted as a lost packet, at least, in the next fragment.
    """

    def __init__(self, limits: Limits, *, has_video: bool = True, progress: Progress | None = None) -> None:
        self.dropped: Counter[str] = Counter()
        self._limits = limits
        self._progress = progress or Progress(has_video=has_video)
        self._pending: list[AccessUnit] = []
        self._described: dict[int, TrackParams] = {}
        self._cut: Cut | None = None
        self._opening = Opening.after(self._progress)
        self._lead: deque[AccessUnit] = deque()

    @property
    def pending(self) -> list[AccessUnit]:
        """Units taken and not yet cut, in the order they were pushed."""
        return self._pending

    @property
    def progress(self) -> Progress:
        """Everything else that later fragments depend on; with `pending`, enough to go on after a restart."""
        return self._progress

    @property
    def learnt_at(self) -> Instant:
        """Latest arrival of anything pushed."""
        return self._progress.arrived_at

    def push(self, unit: AccessUnit) -> list[CutFragment]:
        """Take the next unit; return the fragments that are whole now, mostly none."""
        fragments: list[CutFragment] = []
        if not self._lead and self._progress.started:  # as nearly always: nothing is held back
            if not self._admit(unit):
                return fragments
            rest = self._take(unit, fragments)
            if not rest:
                return fragments
            waiting = deque(rest)
        else:
            waiting = deque((unit,))
        while waiting:
            unit = waiting.popleft()
            if self._admit(unit):
                waiting.extendleft(reversed(self._take(unit, fragments)))
                waiting.extend(self._release(unit))
        return fragments

    def flush(self) -> list[CutFragment]:
        """Cut what is pending: the feed ends, or nothing comes any more. Later units go on with the next number."""
        fragments: list[CutFragment] = []
        while self._lead:
            self._drop(self._lead.popleft(), "before_keyframe")
        while self._pending:
            cut = self._cut or Cut(len(self._pending), None, Instant(0))
            rest = self._complete(cut, fragments)
            for unit in rest:
                self._take_uncut(unit)
        return fragments

    def _take_uncut(self, unit: AccessUnit) -> None:
        self._pending.append(unit)
        self._opening.add(unit)

    def _take(self, unit: AccessUnit, fragments: list[CutFragment]) -> Sequence[AccessUnit]:
        """Add a unit; return those that stand behind a completed cut and must be taken again."""
        pending, opening, cut = self._pending, self._opening, self._cut
        if cut is None and pending:
            cut = self._cut = find_cut(pending[0], len(pending), opening, unit, self._limits)
        pending.append(unit)
        opening.add(unit)
        if cut is None or not ready(cut, opening, unit, self._limits):
            return _NOTHING
        return self._complete(cut, fragments)

    def _complete(self, cut: Cut, fragments: list[CutFragment]) -> list[AccessUnit]:
        inside, rest = part(self._pending, cut, self._opening.main)
        fragments.append(build(self._progress, inside, self._opening.main, self._limits))
        self._pending = []
        self._cut = None
        self._opening = Opening.after(self._progress)
        return rest

    def _admit(self, unit: AccessUnit) -> bool:
        progress = self._progress
        progress.arrived_at = max(progress.arrived_at, unit.arrived_at)
        if len(unit.data) > LARGEST_UNIT_BYTES:
            return self._drop(unit, "oversize")
        if unit.params is not self._described.get(unit.track) and not self._describe(unit):
            return self._drop(unit, "undescribed")
        return progress.started or self._start(unit)

    def _describe(self, unit: AccessUnit) -> bool:
        """Tell whether a player can be told of the unit's parameters; checked once for each new object."""
        try:
            init_segment((unit.params,))
        except InvalidMedia:
            return False
        self._described[unit.track] = unit.params
        return True

    def _start(self, unit: AccessUnit) -> bool:
        progress = self._progress
        if progress.waiting_since is None:
            progress.waiting_since = unit.arrived_at
        is_video = unit.params.codec.is_video
        waited = unit.arrived_at - progress.waiting_since >= START_WAIT_MS
        if (is_video and unit.keyframe) or not progress.has_video or waited:
            progress.started = True
        elif is_video:
            self._drop(unit, "before_keyframe")
        else:
            self._hold(unit)
        return progress.started

    def _hold(self, unit: AccessUnit) -> None:
        lead = self._lead
        lead.append(unit)
        while len(lead) > LEAD_UNITS or unit.captured_at - lead[0].captured_at > LEAD_MS:
            self._drop(lead.popleft(), "before_keyframe")

    def _release(self, first: AccessUnit) -> list[AccessUnit]:
        """Return the sound held back that was captured with or after the unit that begins the feed; once."""
        held = list(self._lead)
        self._lead.clear()
        for unit in held:
            if unit.captured_at < first.captured_at:
                self._drop(unit, "before_keyframe")
        return [unit for unit in held if unit.captured_at >= first.captured_at]

    def _drop(self, unit: AccessUnit, reason: str) -> bool:
        self.dropped[reason] += 1
        self._progress.lost += unit.lost_packets + 1
        return False


def fragments_of(units: Iterable[AccessUnit], limits: Limits, *, has_video: bool = True) -> list[CutFragment]:
    """Cut a whole feed that is already there."""
    fragmenter = Fragmenter(limits, has_video=has_video)
    cut = [fragment for unit in units for fragment in fragmenter.push(unit)]
    return cut + fragmenter.flush()
