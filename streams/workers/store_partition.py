"""One partition of `media` in the store worker's hands: what of it is being gathered, and how far it may commit."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from domain.bus import Record, TopicPartition
from domain.errors import InvalidEvent, InvalidMedia
from domain.events import Fragment, Integrity, SessionEnded
from domain.topics import EVENT_HEADER, FEED_END_HEADER, SEGMENT_HEADER
from domain.wire import decode_event
from storage.boxes import split_fragment
from storage.deposit import Deposit
from storage.part import PartFile
from storage.segmenter import Bounds, Piece, Segment, Segmenter


class Reject(msgspec.Struct, frozen=True):
    """A record that is not stored as good.

    Attributes:
        record: The record.
        reason: One word, for counting.
        detail: In words.
        alarm: What to tell of it besides, where its bytes are not those that were announced.
    """

    record: Record
    reason: str
    detail: str
    alarm: Integrity | None = None


class FeedEnd(msgspec.Struct, frozen=True):
    """A feed is over, or silent.

    Attributes:
        feed_id: Which.
    """

    feed_id: str


Entry = tuple[Record, Fragment | SessionEnded | FeedEnd | Reject]
"""A record of `media`, and what it says."""


class Partition:
    """See the module. `gather` runs on a thread; nothing else touches the partition meanwhile.

    Attributes:
        place: Which partition.
        alive: Ours, and not to be read again from the committed offset.
        position: Offset of the next record; None before the first.
        committed: Offset committed last, or of the first record seen; None before it.
        rejects: Not yet on topic `rejected`; nothing more is read or committed before they are.
        lanes: Closed segments on their way into the store, by recorder, in order.
    """

    def __init__(self, place: TopicPartition, folder: Path, bounds: Bounds) -> None:
        self.place = place
        self.alive = True
        self.position: int | None = None
        self.committed: int | None = None
        self.rejects: deque[Reject] = deque()  # bounded by what one `take` returns
        self.lanes: dict[str, deque[Deposit]] = {}  # bounded by the worker, which stops taking
        self._folder = folder
        self._segmenter = Segmenter(bounds)
        self._parts: dict[Segment, PartFile] = {}
        self._heard_s: dict[Segment, float] = {}

    def unknown_feeds(self, entries: Iterable[Entry]) -> set[tuple[str, str]]:
        """Return recorder and feed of fragments whose feed has not been learnt."""
        said = (what for _, what in entries if isinstance(what, Fragment))
        feeds = {(event.recorder_id, event.feed_id) for event in said}
        return {feed for feed in feeds if not self._segmenter.knows(*feed)}

    def learn(self, recorder_id: str, feed_id: str, stored: list[tuple[int, int]]) -> None:
        """Say which fragments of a feed are in the store."""
        self._segmenter.learn(recorder_id, feed_id, stored)

    def gather(self, entries: list[Entry], monotonic_s: float) -> list[Deposit]:
        """Step 1: check each fragment and append it to its segment's part file.

        Returns:
            What is closed now, in order.

        Raises:
            OSError: The part files cannot be written: the partition must be dropped and read again.
        """
        closed: list[Segment] = []
        for record, what in entries:
            closed += self._one(record, what, monotonic_s)
            self.position = record.offset + 1
        return [self._deposit(segment) for segment in closed]

    def committable(self) -> int | None:
        """Return the offset before which everything is stored or rejected; None where there is nothing new."""
        if self.position is None or self.rejects or not self.alive:
            return None
        held = [segment.first_offset for segment in self._segmenter.open()]
        held += [deposit.segment.first_offset for lane in self.lanes.values() for deposit in lane]
        offset = min([self.position, *held])
        return offset if self.committed is None or offset > self.committed else None

    def silent(self, since_s: float) -> list[Segment]:
        """Return open segments of which nothing came since a moment of the monotonic clock; none once it is dropped."""
        if not self.alive:  # where a disk was full, a segment may be open that has no part file and was never heard
            return []
        return [segment for segment in self._segmenter.open() if self._heard_s[segment] <= since_s]

    def heard(self, segment: Segment, monotonic_s: float) -> None:
        """Count a segment's silence from here again."""
        if segment in self._heard_s:
            self._heard_s[segment] = monotonic_s

    def waiting(self) -> tuple[int, int]:
        """Return how many closed segments wait to be stored, and their bytes."""
        parts = [deposit.part.size for lane in self.lanes.values() for deposit in lane]
        return len(parts), sum(parts)

    def drop(self) -> None:
        """Give the partition up: throw away what is open. What is closed is thrown away by who stores it."""
        self.alive = False
        for part in self._parts.values():
            part.drop()
        self._parts.clear()

    def _one(
        self, record: Record, what: Fragment | SessionEnded | FeedEnd | Reject, monotonic_s: float
    ) -> list[Segment]:
        match what:
            case Fragment():
                return self._fragment(record, what, monotonic_s)
            case SessionEnded():
                return self._segmenter.end_session(what.recorder_id, what.session_id)
            case FeedEnd():
                return self._segmenter.end_feed(record.key or "", what.feed_id)
            case Reject():
                self.rejects.append(what)
                return []

    def _fragment(self, record: Record, event: Fragment, monotonic_s: float) -> list[Segment]:
        data = memoryview(record.value or b"")
        found = hashlib.sha256(data).hexdigest()
        if found != event.sha256:
            self.rejects.append(_altered(record, event, found))
            return []
        try:
            split = split_fragment(data)
        except InvalidMedia as error:
            self.rejects.append(Reject(record, "media_damaged", str(error)))
            return []
        init = data[:split]
        piece = Piece(
            event=event,
            offset=record.offset,
            starts=SEGMENT_HEADER in record.headers,
            init=hashlib.sha256(init).digest(),
            media_bytes=len(data) - split,
        )
        taken = self._segmenter.take(piece)
        if taken.into is not None:
            part = self._parts.get(taken.into)
            if part is None:
                part = self._parts[taken.into] = PartFile(self._folder)
            part.append(event, init, data[split:])
            self._heard_s[taken.into] = monotonic_s
        return taken.closed

    def _deposit(self, segment: Segment) -> Deposit:
        self._heard_s.pop(segment, None)
        return Deposit(segment, self._parts.pop(segment))


def read(record: Record) -> Entry:
    """Say what a record of `media` is, by its headers alone."""
    if FEED_END_HEADER in record.headers:
        return record, FeedEnd(record.headers[FEED_END_HEADER].decode("utf-8", "replace"))
    try:
        event = decode_event(record.headers.get(EVENT_HEADER, b""))
    except InvalidEvent as error:
        return record, Reject(record, "media_event", f"header {EVENT_HEADER}: {error}")
    wanted = Fragment if record.value else SessionEnded
    if not isinstance(event, wanted) or event.recorder_id != record.key:
        detail = f"{type(event).__name__} under key {record.key!r} with {len(record.value or b'')} bytes"
        return record, Reject(record, "media_event", detail)
    return record, event


def source_of(record: Record) -> str:
    """Return where a record stands, as one word."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _altered(record: Record, event: Fragment, found: str) -> Reject:
    detail = f"fragment {event.seq} of feed {event.feed_id}: SHA-256 {found}, announced {event.sha256}"
    alarm = Integrity(at=record.timestamp, recorder_id=event.recorder_id, key=source_of(record), fault="altered")
    return Reject(record, "media_altered", detail, alarm)
