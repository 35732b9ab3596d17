"""What the ledger says of a file that was delivered later: enough to make its row in the catalogue anew."""

from __future__ import annotations

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError
from storage.catalog.rows import UploadRow
from storage.ledger.entry import Entry


class DeliveryBody(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Body of an entry of kind `backfill` for a file in our store; `at` of the entry is when it was delivered.

    Attributes:
        key: Object key.
        version_id: Version that was written; empty where the store has none.
        sha256: Of the object.
        bytes: Its size.
        from_: First captured moment, RFC 3339.
        to: End of it.
        delivered_at: When it was whole and verified, RFC 3339.
        media: Container.
        via: `tus` or `folder`.
        policy: Policy under which it was locked.
        retain_until: Locked at least until then when it was written, RFC 3339; empty in entries of old.
    """

    key: str
    version_id: str
    sha256: str
    bytes: int
    from_: str
    to: str
    delivered_at: str
    media: str
    via: str
    policy: str
    retain_until: str = ""


def entry_of(row: UploadRow, locked_until: Instant) -> Entry:
    """Return the entry of a delivery; said again it is the same entry.

    Args:
        row: The file; its own lock may have been lengthened since it was written.
        locked_until: What it was locked until at least; a function of the delivery alone.
    """
    body = DeliveryBody(
        key=row.key,
        version_id=row.version_id,
        sha256=row.sha256,
        bytes=row.bytes,
        from_=row.from_at.rfc3339(),
        to=row.to_at.rfc3339(),
        delivered_at=row.delivered_at.rfc3339(),
        media=row.media,
        via=row.via,
        policy=row.policy,
        retain_until=locked_until.rfc3339(),
    )
    return Entry(
        kind="backfill",
        at=row.delivered_at,
        body=msgspec.to_builtins(body),
        recorder_id=row.recorder_id,
        session_id=row.session_id,
    )


def row_of(entry: Entry) -> UploadRow:
    """Return the row of a delivery's entry; stored, as far as the ledger tells, when it was delivered.

    Raises:
        IntegrityError: It is no entry that `entry_of` could have made.
    """
    try:
        body = msgspec.convert(entry.body, DeliveryBody)
        delivered_at = Instant.parse(body.delivered_at)
        if entry.kind != "backfill" or entry.recorder_id is None or entry.session_id is None:
            msg = f"an entry of kind {entry.kind} about {entry.recorder_id} and {entry.session_id}"
            raise ValueError(msg)
        return UploadRow(
            key=body.key,
            recorder_id=entry.recorder_id,
            session_id=entry.session_id,
            policy=body.policy,
            from_at=Instant.parse(body.from_),
            to_at=Instant.parse(body.to),
            bytes=body.bytes,
            sha256=body.sha256,
            version_id=body.version_id,
            media=body.media,
            via=body.via,
            delivered_at=delivered_at,
            stored_at=delivered_at,
            retain_until=Instant.parse(body.retain_until) if body.retain_until else delivered_at,
            overlap_ms=0,
        )
    except (msgspec.ValidationError, ValueError) as error:
        msg = f"ledger: entry {entry.id} says nothing of a delivery: {error}"
        raise IntegrityError(msg) from error
