"""What of a session is captured and not in the store, and what is in it. Pure, and bounded in memory.

Two small sets of intervals, in milliseconds of capture time:

* `Pending` holds fragments that no stored segment covers yet, one by one up to `MAX_SPANS`; beyond that the oldest
  neighbours are counted together (their time stays exact, the bytes of a run stored in part are shared out by time).
* `Coverage` holds what stored segments cover, merged, so that a fragment event that comes after its segment, or
  again, is not taken for missing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter

import msgspec

MAX_SPANS = 512
"""Spans kept for one session before neighbours are joined: 17 to 34 minutes of fragments of 2 to 4 s."""
MAX_INTERVALS = 256
"""Stored intervals kept apart for one session; the oldest two are then joined and what lies before counts as stored."""
NEIGHBOUR_MS = 1_000
"""Fragments this close, with consecutive numbers, may be counted together: less than the shortest gap."""
TOUCH_MS = 20
"""Stored intervals this close are one: rounding of capture times at a segment's edge, shorter than a picture."""

_start = attrgetter("start")


class Span(msgspec.Struct, array_like=True):
    """Fragments that are not in the store.

    Attributes:
        feed: Feed of all of them; empty where fragments of several feeds had to be counted together.
        first: Number of the first.
        last: Number of the last.
        start: Capture time of the first, ms.
        end: Capture time of the end of the last, ms.
        bytes: Their size.
    """

    feed: str
    first: int
    last: int
    start: int
    end: int
    bytes: int

    @property
    def count(self) -> int:
        """How many fragments."""
        return self.last - self.first + 1

    def holds(self, feed: str, seq: int) -> bool:
        """Tell whether this very fragment is in it."""
        return self.feed == feed and self.first <= seq <= self.last


class Pending(msgspec.Struct):
    """The fragments of one session that are not in the store, oldest first."""

    spans: list[Span] = msgspec.field(default_factory=list)

    @property
    def oldest(self) -> int | None:
        """Capture time of the oldest, ms; None when all is in."""
        return self.spans[0].start if self.spans else None

    @property
    def bytes(self) -> int:
        """Size of all, bytes."""
        return sum(span.bytes for span in self.spans)

    @property
    def count(self) -> int:
        """How many fragments."""
        return sum(span.count for span in self.spans)

    def add(self, feed: str, seq: int, start: int, end: int, size: int) -> bool:
        """Take in a fragment; False if it is already there."""
        if any(span.holds(feed, seq) for span in reversed(self.spans)):
            return False
        insort(self.spans, Span(feed, seq, seq, start, end, size), key=_start)
        if len(self.spans) > MAX_SPANS:
            self._join()
        return True

    def cover(self, start: int, end: int) -> int:
        """Take out what a segment with these capture times stores.

        A single fragment is stored when its middle lies in the segment: its edges may stick out by a rounding.

        Returns:
            Bytes taken out.
        """
        before = self.bytes
        if before == 0:
            return 0
        self.spans = [left for span in self.spans for left in _subtract(span, start, end)]
        return before - self.bytes

    def _join(self) -> None:
        """Count two neighbours together: the oldest that belong together, else the oldest two whatever they are."""
        pairs = zip(self.spans, self.spans[1:], strict=False)
        index = next((i for i, (one, two) in enumerate(pairs) if _belong(one, two)), 0)
        one, two = self.spans[index : index + 2]
        feed, first, last = one.feed, one.first, two.last
        if not _belong(one, two):
            feed, first, last = "", 0, one.count + two.count - 1
        joined = Span(feed, first, last, one.start, max(one.end, two.end), one.bytes + two.bytes)
        self.spans[index : index + 2] = [joined]


def _belong(one: Span, two: Span) -> bool:
    close = abs(two.start - one.end) <= NEIGHBOUR_MS
    return close and one.feed == two.feed != "" and two.first == one.last + 1


def _subtract(span: Span, start: int, end: int) -> list[Span]:
    if span.count == 1:
        middle = (span.start + span.end) // 2
        return [] if start <= middle <= end else [span]
    if end <= span.start or start >= span.end:
        return [span]
    if not span.feed:
        # There may be holes inside, which no segment will ever cover: segments of a session come oldest first.
        return _pieces(span, [(end, span.end)])
    return _pieces(span, [(span.start, start), (end, span.end)])


def _pieces(span: Span, bounds: list[tuple[int, int]]) -> list[Span]:
    """Return what is left of a span of several fragments, its numbers and bytes shared out by time."""
    length = max(1, span.end - span.start)
    half_a_fragment = length / span.count / 2
    left = []
    for start, end in bounds:
        if end - start <= half_a_fragment:
            continue
        share = (end - start) / length
        first = span.first + int((start - span.start) / length * span.count)
        last = min(span.last, first + max(1, round(share * span.count)) - 1)
        left.append(Span(span.feed, first, last, start, end, round(span.bytes * share)))
    return left


class Coverage(msgspec.Struct):
    """Capture time that stored segments cover.

    Attributes:
        intervals: `[start, end]`, sorted, apart by more than `TOUCH_MS`.
        floor: Everything before it counts as stored.
        folded_ms: Stored time before the floor.
    """

    intervals: list[list[int]] = msgspec.field(default_factory=list)
    floor: int = 0
    folded_ms: int = 0

    @property
    def stored_ms(self) -> int:
        """Length of all that is stored."""
        return self.folded_ms + sum(end - start for start, end in self.intervals)

    def add(self, start: int, end: int) -> None:
        """Take in a stored segment; again changes nothing."""
        start = max(start, self.floor)
        if end < start:
            return
        low = bisect_left(self.intervals, start - TOUCH_MS, key=lambda interval: interval[1])
        high = low
        while high < len(self.intervals) and self.intervals[high][0] <= end + TOUCH_MS:
            start, end = min(start, self.intervals[high][0]), max(end, self.intervals[high][1])
            high += 1
        self.intervals[low:high] = [[start, end]]
        if len(self.intervals) > MAX_INTERVALS:
            oldest_start, oldest_end = self.intervals.pop(0)
            self.folded_ms += oldest_end - oldest_start
            self.floor = oldest_end

    def holds(self, start: int, end: int) -> bool:
        """Tell whether a fragment with these capture times is stored (its middle decides, as in `Pending.cover`)."""
        middle = (start + end) // 2
        if middle < self.floor:
            return True
        index = bisect_left(self.intervals, middle, key=lambda interval: interval[1])
        return index < len(self.intervals) and self.intervals[index][0] <= middle

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of a span that are not stored, each longer than `TOUCH_MS`."""
        at, left = max(start, self.floor), []
        for one, two in self.intervals:
            if one > at and one <= end:
                left.append((at, one))
            at = max(at, two)
        left.append((at, end))
        return [(one, min(two, end)) for one, two in left if min(two, end) - one > TOUCH_MS]
