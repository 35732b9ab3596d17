"""What the ledger says of a stored segment: enough to make its row in the catalogue anew."""

from __future__ import annotations

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import Entry


class SegmentBody(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Body of an entry of kind `segment`; `at` of the entry is when the object was stored.

    Attributes:
        key: Object key.
        version_id: Version that was written; empty where the store has none.
        sha256: Of the object.
        bytes: Its size.
        from_: Capture time of its first access unit, RFC 3339.
        to: Capture time of its end, RFC 3339.
        feed_id: Over which connection it came.
        codec: Codecs of its tracks, picture first.
        first_seq: First fragment in it.
        last_seq: Last fragment in it; none between is missing.
        policy: Policy under which it was locked.
        retain_until: Locked until then when it was written, RFC 3339.
    """

    key: str
    version_id: str
    sha256: str
    bytes: int
    from_: str
    to: str
    feed_id: str
    codec: str
    first_seq: int
    last_seq: int
    policy: str
    retain_until: str


def entry_of(row: SegmentRow) -> Entry:
    """Return the entry of a segment; said again at another time it is the same entry."""
    body = SegmentBody(
        key=row.key,
        version_id=row.version_id,
        sha256=row.sha256,
        bytes=row.bytes,
        from_=row.from_at.rfc3339(),
        to=row.to_at.rfc3339(),
        feed_id=row.feed_id,
        codec=row.codec,
        first_seq=row.first_seq,
        last_seq=row.last_seq,
        policy=row.policy,
        retain_until=row.retain_until.rfc3339(),
    )
    return Entry(
        kind="segment",
        at=row.stored_at,
        body=msgspec.to_builtins(body),
        recorder_id=row.recorder_id,
        session_id=row.session_id,
    )


def row_of(entry: Entry) -> SegmentRow:
    """Return the row of a segment's entry.

    Raises:
        IntegrityError: It is no entry that `entry_of` could have made.
    """
    try:
        body = msgspec.convert(entry.body, SegmentBody)
        if entry.kind != "segment" or entry.recorder_id is None or entry.session_id is None:
            msg = f"an entry of kind {entry.kind} about {entry.recorder_id} and {entry.session_id}"
            raise ValueError(msg)
        return SegmentRow(
            key=body.key,
            recorder_id=entry.recorder_id,
            session_id=entry.session_id,
            feed_id=body.feed_id,
            policy=body.policy,
            from_at=Instant.parse(body.from_),
            to_at=Instant.parse(body.to),
            bytes=body.bytes,
            sha256=body.sha256,
            version_id=body.version_id,
            codec=body.codec,
            first_seq=body.first_seq,
            last_seq=body.last_seq,
            fragments=body.last_seq - body.first_seq + 1,
            retain_until=Instant.parse(body.retain_until),
            stored_at=entry.at,
        )
    except (msgspec.ValidationError, ValueError) as error:
        msg = f"ledger: entry {entry.id} says nothing of a segment: {error}"
        raise IntegrityError(msg) from error
