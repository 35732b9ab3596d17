"""What media of one session is there, and what is missing between. Pure; times are milliseconds since 1970.

`Cover.frontier` is the moment up to which everything is there, or has been said to be missing. A piece that starts at
the frontier (within `gap_min`) moves it at once. One that starts further on leaves a hole, which waits, because a
fragment that fills it may still come; when the oldest piece beyond the hole is older than the lateness, the hole is
said to be missing and the frontier moves over it.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from detectors.gap_causes import Stop

MAX_PENDING = 512
"""Pieces beyond a hole; beyond it the hole is said early."""
MAX_GAPS = 512
"""Gaps that may still be filled; beyond it the oldest is forgotten and stays open."""
MAX_SPANS = 64
"""Missing spans of one gap; beyond it a filling that would split another one is not counted."""
MAX_FEEDS = 8
MAX_LOST = 64
MAX_STOPS = 8
STEP_MS = 1_000
"""Smaller movements of a feed's clock mapping are not called steps."""

Span = tuple[int, int]


class Piece(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Media from `start` to `end`, or a bare moment that should have been reached.

    Attributes:
        start: Capture time of its beginning.
        end: Capture time of its end.
        at: When it came in.
        feed: Connection; empty for what was delivered later and for moments.
        seq: Number in the feed.
        packets_lost: Packets missing in it or before it.
        slack: A moment only: how far the media may fall short of it.
    """

    start: int
    end: int
    at: int
    feed: str = ""
    seq: int = 0
    packets_lost: int = 0
    slack: int = -1

    @property
    def is_moment(self) -> bool:
        """Whether it is a moment that should have been reached, rather than media."""
        return self.slack >= 0


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """The newest fragment of a connection.

    Attributes:
        seq: Its number.
        start: Capture time of its beginning.
        end: Capture time of its end.
        at: When it came in.
        delay: Least time from end to arrival since the clock mapping last moved.
        longest: Longest fragment so far.
        unsound: Its lengths have been seen to be wrong; arrival bounds the end of each.
    """

    seq: int
    start: int
    end: int
    at: int
    delay: int
    longest: int
    unsound: bool = False


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """Numbers `first` to `last` of a feed that have not come; `start` and `end` are those of its neighbours."""

    feed: str
    first: int
    last: int
    at: int
    start: int
    end: int
    longest: int

    @property
    def count(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """Media that is missing, about to be said.

    Attributes:
        start: End of the media before it.
        end: Start of what comes after it.
        numbers: Numbers of fragments that are missing with it.
        hidden: The capture times do not show it, the numbers alone do.
        after: What comes after it; None where `hidden`.
        feed_changed: Media goes on over a connection that was not there before.
    """

    start: int
    end: int
    numbers: tuple[Lost, ...]
    hidden: bool = False
    after: Piece | None = None
    feed_changed: bool = False


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A gap that has been said and may still be filled.

    Attributes:
        start: Its beginning, part of its id.
        end: Its end.
        fragments_lost: Numbers missing in it.
        cause: As said.
        spans: What is still missing of it, ascending.
        numbers: Where `hidden`: the numbers that would fill it.
        hidden: Later capture times run over it, so that only a delivery or its own numbers fill it.
    """

    start: int
    end: int
    fragments_lost: int
    cause: str
    spans: tuple[Span, ...]
    numbers: tuple[Lost, ...] = ()
    hidden: bool = False

    @property
    def missing_ms(self) -> int:
        """What is still missing of it."""
        return sum(end - start for start, end in self.spans)


class Cover(msgspec.Struct, kw_only=True):
    """One session. Mutable while a step works on its own copy (`copy`); as saved, treat as read-only.

    Attributes:
        frontier: See the module; None before any media.
        feeds: Newest fragment of each connection, least recently used first.
        pending: Pieces beyond the hole at the frontier, in order.
        lost: Numbers that are missing and not yet accounted for.
        gaps: Said and not filled.
        stops: Newest stops.
        used: `now` of the latest change.
    """

    frontier: int | None = None
    feeds: dict[str, Feed] = {}
    pending: list[Piece] = []
    lost: list[Lost] = []
    gaps: list[Gap] = []
    stops: list[Stop] = []
    used: int = 0

    def copy(self) -> Cover:
        """Return a copy that may be changed."""
        return Cover(
            frontier=self.frontier,
            feeds=dict(self.feeds),
            pending=list(self.pending),
            lost=list(self.lost),
            gaps=list(self.gaps),
            stops=list(self.stops),
            used=self.used,
        )

    def add(self, piece: Piece) -> None:
        """Take in a piece; `settle` then sees what follows from it."""
        if piece not in self.pending:
            insort(self.pending, piece)

    def add_stop(self, stop: Stop) -> None:
        """Remember a stop."""
        if stop not in self.stops:
            insort(self.stops, stop, key=lambda one: one.at)
            del self.stops[:-MAX_STOPS]

    def settle(self, now: int, lateness: int, gap_min: int) -> list[Hole]:
        """Move the frontier as far as can be told at `now`; return what is missing, in order of capture time."""
        holes: list[Hole] = []
        while self.pending:
            self._watch_lengths(self.pending[0])
            piece = self.pending[0] = self._sound(self.pending[0])
            if not self._leaves_hole(piece, gap_min):
                self._absorb(self.pending.pop(0))
            elif self._hole_since() + lateness <= now or len(self.pending) > MAX_PENDING:
                holes.append(self._step_over(self.pending.pop(0)))
            else:
                break
        holes.extend(self._hidden(now, lateness, gap_min))
        return holes

    def wake_at(self, lateness: int) -> int | None:
        """Return when `settle` may have more to tell."""
        moments = [self._hole_since()] if self.pending else []
        moments += [lost.at for lost in self.lost]
        return min(moments) + lateness if moments else None

    def _hole_since(self) -> int:
        return min(piece.at for piece in self.pending)

    def _leaves_hole(self, piece: Piece, gap_min: int) -> bool:
        if self.frontier is None:
            return False
        if piece.start <= self.frontier + max(gap_min, piece.slack):
            return False
        return not self._clock_went_forward(piece, gap_min)

    def _clock_went_forward(self, piece: Piece, gap_min: int) -> bool:
        """Tell a step of the clock mapping from missing media.

        The next number came, and so much sooner after its end than any before it that the jump is only a correction.
        After congestion the delay falls too, but no lower than it was before.
        """
        feed = self.feeds.get(piece.feed)
        if feed is None or self.frontier is None or piece.seq != feed.seq + 1:
            return False
        moved = feed.delay - (piece.at - piece.end)
        return moved > STEP_MS and piece.start - self.frontier - moved <= gap_min

    def _watch_lengths(self, piece: Piece) -> None:
        """Where a fragment overlaps the next of its own feed, its length was wrong; arrival then bounds its end."""
        feed = self.feeds.get(piece.feed)
        if feed is None or self.frontier is None or piece.seq != feed.seq + 1:
            return
        overlap = feed.end - piece.start
        if overlap <= STEP_MS or feed.end <= feed.at or feed.end < self.frontier:
            return
        self.feeds[piece.feed] = msgspec.structs.replace(feed, end=max(feed.at, feed.start), unsound=True)
        said = [gap.end for gap in self.gaps if not gap.hidden]
        self.frontier = max([*(one.end for one in self.feeds.values()), *said])

    def _sound(self, piece: Piece) -> Piece:
        feed = self.feeds.get(piece.feed)
        if feed is None or not feed.unsound or piece.end <= piece.at:
            return piece
        return msgspec.structs.replace(piece, end=max(piece.start, piece.at))

    def _absorb(self, piece: Piece) -> None:
        if piece.is_moment:
            return
        self.frontier = piece.end if self.frontier is None else max(self.frontier, piece.end)
        if piece.feed:
            self._number(piece)

    def _step_over(self, piece: Piece) -> Hole:
        assert self.frontier is not None  # noqa: S101 - a hole lies behind a frontier
        start = self.frontier
        changed = bool(piece.feed) and piece.feed not in self.feeds
        if piece.is_moment:
            self.frontier = piece.start
        self._absorb(piece)
        numbers = tuple(lost for lost in self.lost if lost.start < piece.start and lost.end > start)
        self.lost = [lost for lost in self.lost if lost not in numbers]
        return Hole(start=start, end=piece.start, numbers=numbers, after=piece, feed_changed=changed)

    def _number(self, piece: Piece) -> None:
        """Account for a fragment's number."""
        known = self.feeds.pop(piece.feed, None)
        length, delay = piece.end - piece.start, piece.at - piece.end
        if known is None:
            if piece.seq > 0:
                self._lose(Lost(piece.feed, 0, piece.seq - 1, piece.at, piece.start - 1, piece.start, 0))
            self.feeds[piece.feed] = Feed(piece.seq, piece.start, piece.end, piece.at, delay, length)
        elif piece.seq <= known.seq:
            self.feeds[piece.feed] = known
            self.find(piece.feed, piece.seq)
        else:
            if piece.seq > known.seq + 1:
                self._lose(
                    Lost(piece.feed, known.seq + 1, piece.seq - 1, piece.at, known.end, piece.start, known.longest)
                )
            went_back = piece.start < known.end - STEP_MS
            least = delay if went_back else min(known.delay, delay)
            self.feeds[piece.feed] = Feed(
                piece.seq, piece.start, piece.end, piece.at, least, max(known.longest, length), known.unsound
            )
        if len(self.feeds) > MAX_FEEDS:
            del self.feeds[next(iter(self.feeds))]

    def _lose(self, lost: Lost) -> None:
        self.lost.append(lost)
        del self.lost[:-MAX_LOST]

    def find(self, feed: str, seq: int) -> None:
        """A number thought lost has come."""
        for index, lost in enumerate(self.lost):
            if lost.feed == feed and lost.first <= seq <= lost.last:
                self.lost[index : index + 1] = without(lost, seq)
                return

    def _hidden(self, now: int, lateness: int, gap_min: int) -> list[Hole]:
        """Numbers that did not come while the capture times run on as if nothing were missing."""
        due = [lost for lost in self.lost if lost.at + lateness <= now]
        if not due:
            return []
        self.lost = [lost for lost in self.lost if lost not in due]
        return [
            Hole(start=lost.start, end=lost.start + lost.count * lost.longest, numbers=(lost,), hidden=True)
            for lost in due
            if self._is_hidden(lost, gap_min)
        ]

    def _is_hidden(self, lost: Lost, gap_min: int) -> bool:
        expected = lost.count * lost.longest
        if expected <= gap_min or lost.end - lost.start >= expected / 2:
            return False  # too short, or the times showed it and something else filled it
        return not any(name != lost.feed and feed.at >= lost.at - expected for name, feed in self.feeds.items())


def without(lost: Lost, seq: int) -> list[Lost]:
    """Return what remains of a range of lost numbers when one is found."""
    parts = []
    if lost.first < seq:
        parts.append(msgspec.structs.replace(lost, last=seq - 1))
    if seq < lost.last:
        parts.append(msgspec.structs.replace(lost, first=seq + 1))
    return parts


def fill(gap: Gap, start: int, end: int, gap_min: int) -> Gap:
    """Return a gap after media from `start` to `end` came; what is left and too short to be a gap is dropped.

    The same object comes back where that changes nothing.
    """
    left: list[Span] = []
    for low, high in gap.spans:
        parts = [(low, min(high, start)), (max(low, end), high)] if start < high and end > low else [(low, high)]
        left += [part for part in parts if part[1] - part[0] > gap_min]
    spans = tuple(left)
    if spans == gap.spans or len(spans) > MAX_SPANS:
        return gap
    return msgspec.structs.replace(gap, spans=spans)


def fill_number(gap: Gap, feed: str, seq: int) -> Gap:
    """Return a hidden gap after one of its own numbers came."""
    numbers: list[Lost] = []
    for lost in gap.numbers:
        numbers += without(lost, seq) if lost.feed == feed and lost.first <= seq <= lost.last else [lost]
    if tuple(numbers) == gap.numbers:
        return gap
    missing = sum(lost.count * lost.longest for lost in numbers)
    spans = ((gap.start, gap.start + missing),) if missing else ()
    return msgspec.structs.replace(gap, numbers=tuple(numbers), spans=spans)
