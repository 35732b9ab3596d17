"""Holes in a feed's numbers between its segments: each must have been said, by a `gap` entry of the ledger. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from domain.clock import Instant
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import Entry
from storage.verify.fault import Fault
from storage.verify.owed import GRACE_MS, SessionFacts

SHORTEST_MS = 1000
"""Missing media shorter than this is no gap for the detectors either."""

_BEGIN = Instant(0)


def unrecorded(session: SessionFacts, now: Instant, shortest_ms: int = SHORTEST_MS) -> list[Fault]:
    """Return the holes between a session's segments that no gap entry overlaps.

    Args:
        session: What the ledger says of it. Segments that were deleted are still segments: only numbers that were never
            stored are holes.
        now: A hole before a segment that was stored just now may not have been said yet.
        shortest_ms: Media missing for less needs no saying.
    """
    feeds: dict[str, list[SegmentRow]] = defaultdict(list)
    for row in session.segments:
        feeds[row.feed_id].append(row)
    spans = [span for entry in session.gaps if (span := _span(entry)) is not None]
    found = []
    for rows in feeds.values():
        rows.sort(key=lambda row: row.first_seq)
        before: SegmentRow | None = None
        for row in rows:
            fault = _hole(before, row, spans, shortest_ms)
            if fault is not None and now >= row.stored_at.plus(GRACE_MS):
                found.append(fault)
            if before is None or row.last_seq > before.last_seq:
                before = row
    return found


def _hole(
    before: SegmentRow | None, row: SegmentRow, spans: list[tuple[Instant, Instant]], shortest_ms: int
) -> Fault | None:
    expected = 0 if before is None else before.last_seq + 1
    if row.first_seq <= expected:
        return None
    begin = _BEGIN if before is None else before.to_at
    if row.from_at - begin <= shortest_ms or any(a <= row.from_at and b >= begin for a, b in _reaching(spans, row)):
        return None
    detail = f"fragments {expected} to {row.first_seq - 1} of feed {row.feed_id} before it were never stored"
    return Fault("unrecorded_gap", row.key, f"{detail}, and the ledger has no gap there", row.recorder_id)


def _reaching(spans: list[tuple[Instant, Instant]], row: SegmentRow) -> list[tuple[Instant, Instant]]:
    """A gap ends where media came again: before a feed's first segment only one that reaches to it counts."""
    return [(a, b) for a, b in spans if b.plus(60_000) >= row.from_at]


def _span(entry: Entry) -> tuple[Instant, Instant] | None:
    """Read from when to when a gap was, from the body of its entry or the evidence of the finding in it."""
    body: dict[str, Any] = entry.body
    evidence = body.get("evidence")
    for told in (evidence if isinstance(evidence, dict) else {}, body):
        begin, end = _moment(told.get("from")), _moment(told.get("to"))
        if begin is not None and end is not None:
            return begin, end
    begin = _moment(body.get("began_at"))
    return None if begin is None else (begin, _moment(body.get("ended_at")) or begin)


def _moment(value: object) -> Instant | None:
    try:
        return Instant.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None
