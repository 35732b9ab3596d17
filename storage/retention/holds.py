"""Holds: what asks for footage to stay, and which footage that is. Pure.

A finding's hold stands until a person lifts it: that the condition is over does not say that nobody needs the footage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from domain.clock import Instant
from domain.events import Hold
from domain.findings import Finding
from policies.model import Policy
from storage.catalog.rows import HoldRow, ObjectRow

_BEGIN = ("from", "first_at")
_END = ("to", "last_at", "resumed_at")
_LASTING = ("picture.", "sound.")
"""Kinds whose condition lasts for as long as the finding is open; others stay open until somebody acts."""


def hold_id(recorder_id: str, event: Hold) -> str:
    """Derive a hold's id from what it says: the same hold said twice is one."""
    parts = (recorder_id, event.session_id, event.at, event.from_, event.to, event.origin, event.ref)
    return _digest("hold", *parts, event.by, event.reason)


def of_event(event: Hold) -> HoldRow:
    """Return the hold that an event sets."""
    return HoldRow(
        id=hold_id(event.recorder_id, event),
        recorder_id=event.recorder_id,
        session_id=event.session_id,
        from_at=event.from_,
        to_at=event.to,
        origin=event.origin,
        ref=event.ref,
        by=event.by,
        reason=event.reason,
        at=event.at,
    )


def of_finding(finding: Finding, policy: Policy) -> HoldRow | None:
    """Return the hold that a finding asks for, None where its kind asks for none.

    It reaches `each_side` (Wucheng: ten minutes, W-NS 第十五条 without a figure) before the finding's beginning and
    after its end, over whatever the recorder recorded then; a finding about one object holds that object.
    """
    rule = policy.retention.finding_hold
    if finding.kind not in rule.finding_kinds.value:
        return None
    key = finding.evidence.get("key")
    begin, end = span(finding)
    side = rule.each_side.ms()
    return HoldRow(
        id=_digest("finding", finding.recorder_id, finding.id),
        recorder_id=finding.recorder_id,
        session_id=None,
        key=key if isinstance(key, str) else None,
        from_at=None if isinstance(key, str) else begin.plus(-side),
        to_at=None if isinstance(key, str) or end is None else end.plus(side),
        origin="finding",
        ref=finding.id,
        by=policy.name,
        reason=finding.kind,
        at=finding.detected_at,
    )


def lifted(event: Hold, standing: Iterable[HoldRow]) -> list[str]:
    """Return the ids of the holds that a release lifts: the one it names, else every person's of exactly its span."""
    if event.hold_id is not None:
        return [event.hold_id]
    wanted = (event.session_id, event.from_, event.to, event.origin, event.ref)
    return [
        one.id
        for one in standing
        if (one.session_id, one.from_at, one.to_at, one.origin, one.ref) == wanted and one.at <= event.at
    ]


def by_two(event: Hold) -> bool:
    """Tell whether a release is the decision of two people; who asks cannot also confirm."""
    one, other = event.by.strip().casefold(), (event.confirmed_by or "").strip().casefold()
    return bool(other) and one != other


def covers(hold: HoldRow, row: ObjectRow) -> bool:
    """Tell whether a hold is on an object."""
    if hold.recorder_id != row.recorder_id or hold.session_id not in {None, row.session_id}:
        return False
    if hold.key is not None:
        return hold.key == row.key
    return _overlaps(hold.from_at, hold.to_at, row)


def touches(finding: Finding, row: ObjectRow, side_ms: int) -> bool:
    """Tell whether an open finding is about an object: by its key, its session, or its time and `side_ms` around."""
    if finding.recorder_id != row.recorder_id:
        return False
    key = finding.evidence.get("key")
    if isinstance(key, str):
        return key == row.key
    begin, end = span(finding)
    if finding.session_id is not None and end is None:
        end = finding.ended_at or finding.detected_at
    return finding.session_id == row.session_id or _overlaps(
        begin.plus(-side_ms), None if end is None else end.plus(side_ms), row
    )


def span(finding: Finding) -> tuple[Instant, Instant | None]:
    """Return the footage a finding is about: from when to when; no end while its condition lasts.

    Of a gap or a stop, `ended_at` is when it was filled or explained, which says nothing about the footage.
    """
    lasts = finding.kind.startswith(_LASTING) or finding.session_id is None
    begin = _first(finding, _BEGIN) or finding.began_at
    end = _first(finding, _END) or (finding.ended_at if lasts else begin)
    return min(begin, finding.began_at), None if end is None else max(begin, end)


def _overlaps(begin: Instant | None, end: Instant | None, row: ObjectRow) -> bool:
    return (begin is None or row.to_at >= begin) and (end is None or row.from_at <= end)


def _first(finding: Finding, names: tuple[str, ...]) -> Instant | None:
    return next((at for name in names if (at := _instant(finding.evidence.get(name))) is not None), None)


def _instant(value: object) -> Instant | None:
    try:
        return Instant.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = b"" if part is None else (str(int(part)) if isinstance(part, Instant) else str(part)).encode()
        digest.update(len(data).to_bytes(4, "big") + bytes([part is None]) + data)
    return digest.hexdigest()[:32]
