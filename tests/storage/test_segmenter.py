"""Segments are functions of the log: of its content and order, never of restarts or of who else is on it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from domain.events import Fragment
from storage.segmenter import MAX_KNOWN_FEEDS, Bounds, Piece, Segment, Segmenter

T0 = Instant.parse("2026-05-04T08:00:00+08:00")
BOUNDS = Bounds(max_bytes=1000, max_ms=20_000, gap_ms=1000)


def piece(
    seq: int, *, at_ms: int | None = None, feed: str = "f", recorder: str = "r", starts: bool = False, **more: object
) -> Piece:
    event = Fragment(
        at=T0,
        recorder_id=recorder,
        session_id=str(more.get("session", "s")),
        feed_id=feed,
        seq=seq,
        captured_at=T0.plus(seq * 2000 if at_ms is None else at_ms),
        duration_s=2.0,
        bytes=100,
        sha256="0" * 64,
        codec="h264",
    )
    init = more.get("init", b"i")
    assert isinstance(init, bytes)
    size = more.get("size", 10)
    assert isinstance(size, int)
    return Piece(event, seq, starts, init, size)


def cuts(*pieces: Piece) -> list[list[int]]:
    segmenter = Segmenter(BOUNDS)
    segments: dict[int, list[int]] = {}
    for one in pieces:
        if not segmenter.knows(one.event.recorder_id, one.event.feed_id):
            segmenter.learn(one.event.recorder_id, one.event.feed_id, [])
        into = segmenter.take(one).into
        if into is not None:
            segments.setdefault(id(into), []).append(one.event.seq)
            kept.append(into)
    return list(segments.values())


kept: list[Segment] = []  # so that no id() is used twice


def test_fragments_that_follow_one_another_belong_together() -> None:
    assert cuts(piece(0), piece(1), piece(2)) == [[0, 1, 2]]


def test_where_a_new_one_begins() -> None:
    assert cuts(piece(0), piece(1, starts=True), piece(2)) == [[0], [1, 2]]
    assert cuts(piece(0), piece(2)) == [[0], [2]]
    assert cuts(piece(0), piece(1, at_ms=3000)) == [[0, 1]]
    assert cuts(piece(0), piece(1, at_ms=3001)) == [[0], [1]]
    assert cuts(piece(0), piece(1, at_ms=999)) == [[0], [1]]
    assert cuts(piece(0), piece(1, init=b"other")) == [[0], [1]]
    assert cuts(piece(0), piece(1, session="other")) == [[0], [1]]
    assert cuts(piece(0, size=600), piece(1, size=400), piece(2, size=1)) == [[0, 1], [2]]
    assert cuts(*(piece(n) for n in range(12))) == [list(range(10)), [10, 11]]


def test_repetitions_change_nothing_and_latecomers_are_kept() -> None:
    assert cuts(piece(0), piece(1), piece(0), piece(1), piece(2)) == [[0, 1, 2]]
    assert cuts(piece(0), piece(2), piece(1), piece(3), piece(2)) == [[0], [2], [1], [3]]


def test_a_recorder_has_at_most_four_feeds_open() -> None:
    segmenter = Segmenter(BOUNDS)
    closed = []
    for feed in "abcdef":
        segmenter.learn("r", feed, [])
        closed += segmenter.take(piece(0, feed=feed)).closed
    assert [segment.feed_id for segment in closed] == ["a", "b"]
    assert [segment.feed_id for segment in segmenter.open()] == ["c", "d", "e", "f"]


def test_ends() -> None:
    segmenter = Segmenter(BOUNDS)
    for feed, session in (("a", "s1"), ("b", "s2"), ("c", "s1")):
        segmenter.learn("r", feed, [])
        segmenter.take(piece(0, feed=feed, session=session))
    assert [s.feed_id for s in segmenter.end_session("r", "s1")] == ["a", "c"]
    assert [s.feed_id for s in segmenter.end_feed("r", "b")] == ["b"]
    assert segmenter.end_feed("r", "b") == segmenter.end_session("r", "s1") == []
    assert segmenter.open() == []


def test_memory_of_feeds_is_bounded_and_spares_the_open_ones() -> None:
    segmenter = Segmenter(BOUNDS)
    segmenter.learn("r", "open", [])
    segmenter.take(piece(0, feed="open"))
    for number in range(MAX_KNOWN_FEEDS + 10):
        segmenter.learn("r", f"f{number}", [])
    assert segmenter.knows("r", "open")
    assert not segmenter.knows("r", "f5")
    assert segmenter.knows("r", f"f{MAX_KNOWN_FEEDS}")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=40))
def test_the_set_of_numbers_is_a_set(spans: list[tuple[int, int]]) -> None:
    segmenter, plain = Segmenter(BOUNDS), set[int]()
    segmenter.learn("r", "f", [(first, first + more) for first, more in spans])
    for first, more in spans:
        plain.update(range(first, first + more + 1))
    for number in range(66):
        assert (segmenter.take(piece(number)).into is None) == (number in plain)


# The property: a log, processed with crashes anywhere, gives the same segments.

SEEDS = st.integers(0, 2**64)

Name = tuple[str, str, int, int]


class Item:
    """One record of a partition: a fragment, or the end of a feed or a session."""

    def __init__(self, recorder: str, fragment: Piece | None = None, feed: str = "", session: str = "") -> None:
        self.recorder, self.fragment, self.feed, self.session = recorder, fragment, feed, session


def recorders_log(recorder: str, rng: random.Random) -> list[Item]:
    """A recorder's records: up to six feeds, overlapping, with gaps, repetitions, latecomers and ends."""
    feeds = []
    for number in range(rng.randint(1, 6)):
        feed, at, items = f"{recorder}-f{number}", rng.randint(0, 30_000), list[Item]()
        seq = 0
        for _ in range(rng.randint(1, 14)):
            starts = rng.random() < 0.15
            init = b"j" if rng.random() < 0.05 else b"i"
            size = rng.choice((10, 10, 400))
            session = f"s{rng.random() < 0.05}"
            made = piece(
                seq, at_ms=at, feed=feed, recorder=recorder, starts=starts, init=init, size=size, session=session
            )
            items.append(Item(recorder, made))
            if rng.random() < 0.2:
                items.insert(rng.randint(0, len(items)), Item(recorder, made))
            seq += 1 if rng.random() < 0.9 else 2
            at += 2000 if rng.random() < 0.9 else 9000
        if rng.random() < 0.5:
            items.append(Item(recorder, feed=feed))
        if rng.random() < 0.3:
            items.append(Item(recorder, session="sFalse"))
        feeds.append(items)
    return interleave(feeds, rng, 0.85)


def interleave(lists: list[list[Item]], rng: random.Random, stay: float) -> list[Item]:
    queues = [list(items) for items in lists]
    merged: list[Item] = []
    current = None
    while any(queues):
        if not current or rng.random() > stay:
            current = rng.choice([queue for queue in queues if queue])
        merged.append(current.pop(0))
    return merged


class World:
    """The log, what is stored, and the committed offset: all that survives a crash."""

    def __init__(self, log: list[Item]) -> None:
        self.log, self.committed = log, 0
        self.stored: dict[str, list[Name]] = {}

    def run(self, until: int, rng: random.Random, *, all_of_it: bool) -> None:
        """One life of a worker: from the committed offset to `until`, storing some of what was closed."""
        segmenter, waiting = Segmenter(BOUNDS), dict[str, list[Segment]]()
        for offset in range(self.committed, until):
            for segment in self._step(segmenter, offset):
                waiting.setdefault(segment.recorder_id, []).append(segment)
            if rng.random() < 0.3 or all_of_it:
                self._store(waiting, rng, all_of_it)
            if rng.random() < 0.3:
                held = [s.first_offset for s in segmenter.open()]
                held += [s.first_offset for queue in waiting.values() for s in queue]
                self.committed = max(self.committed, min([*held, offset + 1]))

    def _step(self, segmenter: Segmenter, offset: int) -> list[Segment]:
        item = self.log[offset]
        if item.fragment is None:
            if item.feed:
                return segmenter.end_feed(item.recorder, item.feed)
            return segmenter.end_session(item.recorder, item.session)
        event = item.fragment.event
        if not segmenter.knows(event.recorder_id, event.feed_id):
            names = self.stored.get(event.recorder_id, [])
            segmenter.learn(event.recorder_id, event.feed_id, [(n[2], n[3]) for n in names if n[1] == event.feed_id])
        return segmenter.take(
            Piece(event, offset, item.fragment.starts, item.fragment.init, item.fragment.media_bytes)
        ).closed

    def _store(self, waiting: dict[str, list[Segment]], rng: random.Random, all_of_it: bool) -> None:
        for recorder, queue in waiting.items():
            for _ in range(len(queue) if all_of_it else rng.randint(0, len(queue))):
                one = queue.pop(0)
                name = (one.recorder_id, one.feed_id, one.first_seq, one.last_seq)
                self.stored.setdefault(recorder, []).append(name)


def without_crashes(log: list[Item]) -> dict[str, list[Name]]:
    world = World(log)
    world.run(len(log), random.Random(0), all_of_it=True)
    return world.stored


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_crashes_anywhere_give_the_same_segments(seed: int) -> None:
    rng = random.Random(seed)
    log = interleave([recorders_log(f"r{n}", rng) for n in range(3)], rng, 0.5)
    world = World(log)
    for _ in range(rng.randint(1, 5)):
        world.run(rng.randint(world.committed, len(log)), rng, all_of_it=False)
    world.run(len(log), rng, all_of_it=True)
    assert world.stored == without_crashes(log)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_who_else_is_on_the_partition_changes_nothing(seed: int) -> None:
    rng = random.Random(seed)
    logs = [recorders_log(f"r{n}", rng) for n in range(3)]
    one, other = interleave(logs, rng, 0.5), interleave(logs, rng, 0.9)
    assert without_crashes(one) == without_crashes(other)
    for number, log in enumerate(logs):
        alone = without_crashes(log).get(f"r{number}")
        assert alone == without_crashes(one).get(f"r{number}")


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_each_fragment_is_in_exactly_one_segment(seed: int) -> None:
    log = recorders_log("r0", random.Random(seed))
    for feed in range(6):
        log += [Item("r0", feed=f"r0-f{feed}")]
    there = sorted({(i.fragment.event.feed_id, i.fragment.event.seq) for i in log if i.fragment})
    stored = [(n[1], seq) for n in without_crashes(log).get("r0", []) for seq in range(n[2], n[3] + 1)]
    assert sorted(stored) == there
