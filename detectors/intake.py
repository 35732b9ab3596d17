"""The intake of one recorder: takes repeated events out, and puts disordered ones in order. Pure.

**Repeated.** A fragment is known by its feed and number, anything else by its line. Numbers are kept as ranges, a
few feeds back. Lines are kept for the lateness only: an older repetition stands late, and what still uses late events
(gaps, backfill, what is known of sessions) takes the same thing twice without harm.

**In order.** A log that is in order is passed on at once, so that a stall is said in its second. Standing up to
`JITTER_MS` behind is in order: processes write side by side. The first event that stands further behind, up to the
lateness, shows a disordered log: from then on, and until nothing has stood so for `CALM_MS`, events of this recorder
wait for the lateness and then come in order of `at`, and ticks with them. What detectors see is then the same as if
the log had been in order, only said later. A recorder never heard of before waits too, until `PROOF_EVENTS` events
have stood in order beside the ticks.

**Late.** An event further behind than the lateness is counted and passed on at once.
"""

from __future__ import annotations

import hashlib

import msgspec

from domain.events import AnyEvent, Fragment

JITTER_MS = 1_000
CALM_MS = 600_000
MAX_HELD = 4_096
"""Events waiting for their turn; beyond it the oldest goes on early."""
MAX_SEEN = 4_096
"""Lines remembered; beyond it the oldest is forgotten."""
MAX_FEEDS = 16
MAX_RANGES = 64
PROOF_EVENTS = 6
"""Events that must have stood in order before a recorder's log is believed to be."""
TICK_NEAR_MS = 1_500
"""Ticks that run as they should are so near to each other and to an event. Beside others an event proves nothing."""

Range = tuple[int, int]

_RANKS = ("recorder_registered", "session_opened", "session_resumed", "fragment", "telemetry", "backfilled")
_RANK = {name: rank for rank, name in enumerate(_RANKS)}
_LAST = {"session_stopped": 100, "session_ended": 101}


class Held(msgspec.Struct, frozen=True, order=True, array_like=True):
    """An event waiting for its turn; the order of the fields is the order of release."""

    at: int
    rank: int
    line: bytes


class Intake(msgspec.Struct, kw_only=True):
    """State of a recorder's intake. Mutable, and owned by one `Recorder`.

    Attributes:
        high: Highest `at` of its own events.
        calm_at: Until then the log counts as disordered.
        held: Events that wait, in order.
        seen: Digests of lines within the lateness, and their `at`.
        feeds: Numbers seen of each feed, as ranges with both ends included; least recently used first.
        proof: Events that stood in order beside a tick; enough of them, and the log counts as ordered.
        late: Events further behind than the lateness.
        repeated: Events taken out.
    """

    high: int = 0
    calm_at: int = 0
    held: list[Held] = []
    seen: dict[int, int] = {}
    feeds: dict[str, list[Range]] = {}
    proof: int = 0
    late: int = 0
    repeated: int = 0

    def is_repeated(self, event: AnyEvent, line: bytes, horizon: int) -> bool:
        """Tell whether this event was taken in before, and remember it."""
        known = self._fragment_known(event) if isinstance(event, Fragment) else self._line_known(event, line, horizon)
        self.repeated += known
        return known

    def _fragment_known(self, event: Fragment) -> bool:
        ranges = self.feeds.pop(event.feed_id, None) or []
        known = not add_number(ranges, event.seq)
        self.feeds[event.feed_id] = ranges  # now the most recently used
        if len(self.feeds) > MAX_FEEDS:
            del self.feeds[next(iter(self.feeds))]
        return known

    def _line_known(self, event: AnyEvent, line: bytes, horizon: int) -> bool:
        digest = int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "big", signed=True)
        if digest in self.seen:
            return True
        if event.at < horizon:
            return False
        while self.seen:
            oldest = next(iter(self.seen))
            if self.seen[oldest] >= horizon and len(self.seen) < MAX_SEEN:
                break
            del self.seen[oldest]
        self.seen[digest] = int(event.at)
        return False


def add_number(ranges: list[Range], number: int) -> bool:
    """Add a number to sorted, disjoint ranges in place. Returns False where it was there.

    At most `MAX_RANGES` are kept; the lowest is forgotten first.
    """
    if ranges and ranges[-1][1] + 1 == number:
        ranges[-1] = (ranges[-1][0], number)
        return True
    index = len(ranges)
    while index and ranges[index - 1][0] > number:
        index -= 1
    if index and ranges[index - 1][1] >= number:
        return False
    low = high = number
    if index < len(ranges) and ranges[index][0] == number + 1:
        high = ranges.pop(index)[1]
    if index and ranges[index - 1][1] == number - 1:
        index -= 1
        low = ranges.pop(index)[0]
    ranges.insert(index, (low, high))
    if len(ranges) > MAX_RANGES:
        del ranges[0]
    return True


def hold(event: AnyEvent, line: bytes) -> Held:
    """Give an event its place in line. Of one moment, beginnings come first and ends last; then the bytes decide."""
    name = str(type(event).__struct_config__.tag)
    return Held(int(event.at), _LAST.get(name, _RANK.get(name, len(_RANKS))), line)
