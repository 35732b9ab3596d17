"""What `package.json` says of an original."""

from __future__ import annotations

from typing import Any

import msgspec

from storage.catalog.rows import ObjectRow, SegmentRow, UploadRow


class Original(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, omit_defaults=True):
    """An original in the package; see docs/reference/package.md."""

    file: str
    key: str
    version_id: str
    sha256: str
    bytes: int
    from_: str
    to: str
    entry: int
    feed_id: str | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    delivered_at: str | None = None
    media: str | None = None
    via: str | None = None


def original_of(name: str, row: ObjectRow, entry: int) -> Original:
    """Say it.

    Args:
        name: Its path in the package.
        row: What the ledger says of it.
        entry: Index of that entry.
    """
    common = Original(
        file=name,
        key=row.key,
        version_id=row.version_id,
        sha256=row.sha256,
        bytes=row.bytes,
        from_=row.from_at.rfc3339(),
        to=row.to_at.rfc3339(),
        entry=entry,
    )
    more: dict[str, Any] = {}
    if isinstance(row, SegmentRow):
        more = {"feed_id": row.feed_id, "first_seq": row.first_seq, "last_seq": row.last_seq}
    elif isinstance(row, UploadRow):
        more = {"delivered_at": row.delivered_at.rfc3339(), "media": row.media, "via": row.via}
    return msgspec.structs.replace(common, **more)
