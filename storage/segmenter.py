"""Which fragments make one segment. Pure: the answer depends on the log's contents and order alone.

A segment holds fragments of one recorder, session and feed, their numbers without holes. A new one begins

- at a fragment that says so (the fragmenter's minute of capture time),
- where `seq` does not go on by one, or capture times leave a hole or go back by more than `gap_ms`,
- where the init part (ftyp + moov) changes,
- where the running one would grow beyond `max_bytes` or `max_ms`,
- at the fifth open feed of a recorder: the one opened first is closed.

It ends also when its feed or its session has ended on the log. No clock is asked: a feed that just went silent is
ended by a record on the log (see `streams.workers.store`).

**Starting again.** The committed offset is never beyond the first fragment of a segment that is open or not yet
stored, and a recorder's segments are stored in the order in which they were closed. So the records from there hold
every fragment that is not stored yet, and for each feed `learn` says which are. What is stored is passed over as a
repetition; the rest falls into the same segments as it would have, for passing over changes nothing (proven by
property in the tests).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from domain.clock import ms
from domain.events import Fragment

MAX_OPEN_PER_RECORDER = 4
"""A recorder's feeds follow one another; a second one is open only while an older connection's spool drains."""
MAX_KNOWN_FEEDS = 4096
"""Feeds whose stored numbers are remembered; the longest untouched is forgotten and asked for again. Far more than
segments may wait to be stored, so that none that waits is ever forgotten."""

FeedKey = tuple[str, str]
"""Recorder and feed."""


class Bounds(msgspec.Struct, frozen=True):
    """How far a segment may grow.

    Attributes:
        max_bytes: Of moof + mdat, all together.
        max_ms: Of capture time.
        gap_ms: A longer hole between fragments ends it.
    """

    max_bytes: int = 64_000_000
    max_ms: int = 120_000
    gap_ms: int = 1000


class Piece(msgspec.Struct, frozen=True):
    """A fragment as the segmenter sees it.

    Attributes:
        event: What the log says of it.
        offset: Where it stands in its partition.
        starts: It says that a segment begins here.
        init: Digest of its init part.
        media_bytes: Of its moof + mdat.
    """

    event: Fragment
    offset: int
    starts: bool
    init: bytes
    media_bytes: int


class Segment(msgspec.Struct, eq=False):
    """Fragments that belong together, open until it stands in an answer's `closed`.

    Attributes:
        recorder_id: Whose.
        session_id: Of which session.
        feed_id: Over which connection.
        codec: Of the first fragment.
        first_offset: Where its first fragment stands in the partition.
        first_seq: Its first fragment.
        last_seq: Its last.
        from_ms: Capture time of its first access unit.
        to_ms: Capture time of its end.
        media_bytes: Of moof + mdat so far.
        init: Digest of its init part.
    """

    recorder_id: str
    session_id: str
    feed_id: str
    codec: str
    first_offset: int
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    media_bytes: int
    init: bytes


class Taken(msgspec.Struct, frozen=True):
    """What became of a fragment.

    Attributes:
        closed: Segments that end before it, in order.
        into: The segment that it belongs to; None for a repetition.
    """

    closed: list[Segment]
    into: Segment | None


class Segmenter:
    """The open segments of one partition."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._open: dict[str, dict[str, Segment]] = {}  # recorder → feed → segment, the one opened first in front
        self._known: OrderedDict[FeedKey, _Numbers] = OrderedDict()

    def knows(self, recorder_id: str, feed_id: str) -> bool:
        """Tell whether `learn` has been called for this feed (and not forgotten since)."""
        return (recorder_id, feed_id) in self._known

    def learn(self, recorder_id: str, feed_id: str, stored: Iterable[tuple[int, int]]) -> None:
        """Say which numbers of a feed are in the store already."""
        numbers = _Numbers()
        for first, last in stored:
            numbers.add(first, last)
        self._known[recorder_id, feed_id] = numbers
        self._forget()

    def take(self, piece: Piece) -> Taken:
        """Put a fragment where it belongs; its feed must be known."""
        event = piece.event
        numbers = self._known[event.recorder_id, event.feed_id]
        self._known.move_to_end((event.recorder_id, event.feed_id))
        if event.seq in numbers:
            return Taken([], None)
        numbers.add(event.seq, event.seq)
        feeds = self._open.setdefault(event.recorder_id, {})
        running = feeds.get(event.feed_id)
        if running is not None and self._goes_on(running, piece):
            _extend(running, piece)
            return Taken([], running)
        # Without its own feed running there is room for one more; otherwise whatever is above the limit must go.
        ending = [event.feed_id] if running else list(feeds)[: max(0, len(feeds) - MAX_OPEN_PER_RECORDER + 1)]
        closed = self._close(event.recorder_id, ending)
        opened = _begin(piece)
        self._open.setdefault(event.recorder_id, {})[event.feed_id] = opened
        return Taken(closed, opened)

    def end_feed(self, recorder_id: str, feed_id: str) -> list[Segment]:
        """Close a feed's segment: the feed is over, or silent."""
        return self._close(recorder_id, [feed_id])

    def end_session(self, recorder_id: str, session_id: str) -> list[Segment]:
        """Close a session's segments: the session is whole."""
        feeds = self._open.get(recorder_id, {})
        return self._close(recorder_id, [feed for feed, one in feeds.items() if one.session_id == session_id])

    def open(self) -> list[Segment]:
        """Return the open segments."""
        return [segment for feeds in self._open.values() for segment in feeds.values()]

    def _goes_on(self, running: Segment, piece: Piece) -> bool:
        event, bounds = piece.event, self._bounds
        return (
            not piece.starts
            and event.seq == running.last_seq + 1
            and event.session_id == running.session_id
            and piece.init == running.init
            and abs(event.captured_at - running.to_ms) <= bounds.gap_ms
            and running.media_bytes + piece.media_bytes <= bounds.max_bytes
            and event.captured_at + ms(event.duration_s) - running.from_ms <= bounds.max_ms
        )

    def _close(self, recorder_id: str, feeds: list[str]) -> list[Segment]:
        running = self._open.get(recorder_id, {})
        closed = [running.pop(feed) for feed in feeds if feed in running]
        if not running:
            self._open.pop(recorder_id, None)
        return closed

    def _forget(self) -> None:
        if len(self._known) <= MAX_KNOWN_FEEDS:
            return
        for recorder_id, feed_id in self._known:
            if feed_id not in self._open.get(recorder_id, {}):
                del self._known[recorder_id, feed_id]
                return


class _Numbers:
    """A set of numbers as ranges without holes: one, nearly always."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, first: int, last: int) -> None:
        """Add the numbers from first to last."""
        begin = bisect_right(self._lasts, first - 2)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end], self._lasts[begin:end] = [first], [last]


def _begin(piece: Piece) -> Segment:
    event = piece.event
    return Segment(
        recorder_id=event.recorder_id,
        session_id=event.session_id,
        feed_id=event.feed_id,
        codec=event.codec,
        first_offset=piece.offset,
        first_seq=event.seq,
        last_seq=event.seq,
        from_ms=event.captured_at,
        to_ms=event.captured_at + ms(event.duration_s),
        media_bytes=piece.media_bytes,
        init=piece.init,
    )


def _extend(segment: Segment, piece: Piece) -> None:
    event = piece.event
    segment.last_seq = event.seq
    segment.to_ms = event.captured_at + ms(event.duration_s)
    segment.media_bytes += piece.media_bytes
