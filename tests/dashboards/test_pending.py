"""What is captured and not stored, and what is stored."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dashboards.pending import MAX_INTERVALS, MAX_SPANS, Coverage, Pending


def _filled(count: int, *, feed: str = "f", first: int = 0) -> Pending:
    pending = Pending()
    for seq in range(first, first + count):
        pending.add(feed, seq, seq * 2000, seq * 2000 + 2000, 100)
    return pending


def test_a_fragment_counts_once() -> None:
    pending = _filled(3)
    assert not pending.add("f", 1, 2000, 4000, 100)
    assert (pending.bytes, pending.count, pending.oldest) == (300, 3, 0)


def test_a_segment_takes_out_the_fragments_it_covers_and_no_neighbour() -> None:
    pending = _filled(4)
    # The segment's end sticks 3 ms into the third fragment, and its start into the first: roundings.
    assert pending.cover(1997, 4003) == 100
    assert [span.first for span in pending.spans] == [0, 2, 3]
    assert pending.cover(0, 100_000) == 300
    assert pending.oldest is None


def test_memory_is_bounded_and_time_and_bytes_stay_right() -> None:
    pending = _filled(5000)
    assert len(pending.spans) <= MAX_SPANS
    assert (pending.bytes, pending.count, pending.oldest) == (500_000, 5000, 0)
    assert not pending.add("f", 17, 34_000, 36_000, 100)
    assert pending.cover(0, 2_000_000) == 100_000
    assert pending.oldest == 2_000_000
    assert pending.cover(4_000_000, 6_000_000) == 100_000
    assert pending.oldest == 2_000_000
    pending.cover(2_000_000, 4_000_000)
    pending.cover(6_000_000, 10_000_000)
    assert not pending.spans


def test_a_thousand_reconnections_are_bounded_and_drain() -> None:
    pending = Pending()
    for number in range(2000):
        pending.add(f"feed-{number}", 0, number * 10_000, number * 10_000 + 2000, 100)
    assert len(pending.spans) <= MAX_SPANS
    assert (pending.bytes, pending.oldest) == (200_000, 0)
    for number in range(2000):
        pending.cover(number * 10_000, number * 10_000 + 2000)
    assert (pending.oldest, pending.bytes) == (None, 0)


@given(
    stored=st.permutations(range(12)),
    cuts=st.sets(st.integers(1, 11)),
    late=st.sets(st.integers(0, 11)),
)
def test_nothing_is_pending_if_and_only_if_everything_is_stored(
    stored: list[int], cuts: set[int], late: set[int]
) -> None:
    """Whatever the segments' sizes and order, and whether an event comes before or after its segment."""
    edges = [0, *sorted(cuts), 12]
    segments = list(pairwise(edges))
    order = sorted(segments, key=lambda segment: stored.index(segment[0]))
    pending, coverage = Pending(), Coverage()
    for seq in sorted(set(range(12)) - late):
        pending.add("f", seq, seq * 2000, seq * 2000 + 2000, 100)
    done: set[int] = set()
    known = set(range(12)) - late
    for first, end in order:
        assert (pending.oldest is None) == (known <= done)
        coverage.add(first * 2000, end * 2000)
        pending.cover(first * 2000, end * 2000)
        done |= set(range(first, end))
        assert pending.count == len(known - done)
    for seq in late:
        assert coverage.holds(seq * 2000, seq * 2000 + 2000)
    assert pending.oldest is None
    assert coverage.stored_ms == 24_000


def test_coverage_is_merged_and_bounded() -> None:
    coverage = Coverage()
    coverage.add(0, 1000)
    coverage.add(1010, 2000)
    coverage.add(0, 1000)
    assert coverage.intervals == [[0, 2000]]
    for number in range(1, 1000):
        coverage.add(number * 10_000, number * 10_000 + 5000)
    assert len(coverage.intervals) == MAX_INTERVALS
    assert coverage.stored_ms == 2000 + 999 * 5000
    assert coverage.holds(10_000, 12_000)
    assert coverage.holds(9_990_000, 9_992_000)
    assert not coverage.holds(9_996_000, 9_998_000)


def test_missing_parts_of_a_recording() -> None:
    coverage = Coverage()
    coverage.add(2000, 4000)
    coverage.add(6000, 8000)
    assert coverage.missing(0, 10_000) == [(0, 2000), (4000, 6000), (8000, 10_000)]
    assert coverage.missing(2000, 4000) == []
    assert coverage.missing(3000, 7000) == [(4000, 6000)]
