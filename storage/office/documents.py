"""Files that people hand in: scans of signed papers, photos of notices, certificates. Named by what is in them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table, select

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office.office import Office, metadata

MAX_BYTES = 10_000_000
MEDIA_TYPES = {
    "application/pdf": (b"%PDF-",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
}
"""What may be handed in, and how such a file begins: what it is called decides nothing."""

documents = Table(
    "documents",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("added_at_ms", BigInteger, nullable=False),
    Column("added_by", String(200), nullable=False),
    Column("content", LargeBinary, nullable=False),
)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One file, without its content.

    Attributes:
        sha256: Of its content, hex; its id.
        name: What it was called when it was handed in.
        media_type: Of `MEDIA_TYPES`.
        added_at: When it was handed in first.
        added_by: Account that did.
    """

    sha256: str
    name: str
    media_type: str
    added_at: Instant
    added_by: str


async def add(office: Office, content: bytes, *, name: str, by: str, at: Instant, field: str = "document") -> Document:
    """Keep a file; handed in again it is the same one.

    Raises:
        InvalidInput: Empty, too long, or of no kind that is taken; names `field`.
    """
    media_type = _media_type(content, field)
    sha256 = hashlib.sha256(content).hexdigest()
    kept = Document(sha256=sha256, name=name[:200], media_type=media_type, added_at=at, added_by=by)
    row: dict[str, Any] = {
        "sha256": sha256,
        "name": kept.name,
        "media_type": media_type,
        "added_at_ms": int(at),
        "added_by": by,
        "content": content,
    }
    await office.write(
        lambda connection: connection.execute(office.insert(documents).values(row).on_conflict_do_nothing())
    )
    return kept


async def read(office: Office, sha256: str) -> tuple[Document, bytes] | None:
    """Return a file and its content; None where there is none of that hash."""

    def work(connection: Connection) -> tuple[Document, bytes] | None:
        row = connection.execute(select(documents).where(documents.c.sha256 == sha256)).one_or_none()
        if row is None:
            return None
        at = Instant(row.added_at_ms)
        found = Document(
            sha256=row.sha256, name=row.name, media_type=row.media_type, added_at=at, added_by=row.added_by
        )
        return found, bytes(row.content)

    return await office.read(work)


def _media_type(content: bytes, field: str) -> str:
    if not content or len(content) > MAX_BYTES:
        msg = f"{field}: {len(content)} bytes; 1 to {MAX_BYTES} are taken"
        raise InvalidInput(msg, field)
    for media_type, beginnings in MEDIA_TYPES.items():
        if content.startswith(beginnings):
            return media_type
    msg = f"{field}: neither PDF, JPEG nor PNG"
    raise InvalidInput(msg, field)
