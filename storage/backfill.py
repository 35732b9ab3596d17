"""A file that was delivered later on its way into the store: as it came, create-only, locked, attested, written down.

The order is that of a segment (`storage.deposit`): the object, what the store says of it, the ledger, the catalogue.
Every step may be repeated by a process that knows nothing of the one before.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, LedgerUnavailable
from domain.events import Backfilled
from policies.local import Rulebook
from policies.retention import retain_until
from storage.catalog.rows import UploadRow
from storage.catalog.uploads import Uploads
from storage.deposit import RETENTION_CLASS, SHORTEST_LOCK_MS
from storage.layout import content_type_of, upload_key
from storage.ledger.delivery import entry_of
from storage.ledger.ledger import Ledger
from storage.objects.port import Head, ObjectStore


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file, its hash verified.

    Attributes:
        path: Where its bytes are.
        recorder_id: Whose footage.
        session_id: Of which session.
        from_at: First captured moment.
        to_at: End of it.
        sha256: Of the file.
        bytes: Its size.
        media: Its container.
        via: Which way it came.
        delivered_at: When it was whole and verified here.
    """

    path: Path
    recorder_id: str
    session_id: str
    from_at: Instant
    to_at: Instant
    sha256: str
    bytes: int
    media: str
    via: str
    delivered_at: Instant

    @property
    def key(self) -> str:
        """Object key."""
        return upload_key(self.recorder_id, self.sha256, self.media)


class Backfill:
    """Stores deliveries.

    Args:
        store: The object store.
        uploads: The catalogue's part.
        ledger: The custody ledger.
        clock: For `stored_at`.
        book: The policies in force.
    """

    def __init__(self, store: ObjectStore, uploads: Uploads, ledger: Ledger, clock: Clock, book: Rulebook) -> None:
        self._store, self._uploads, self._ledger = store, uploads, ledger
        self._clock, self._book = clock, book

    async def run(self, one: Delivery, policy: str) -> UploadRow:
        """Store a delivery, and return what the catalogue has of it; of a file delivered before, what it had.

        Raises:
            Unavailable: The store, the ledger or the catalogue is away; call again later.
            SourceDamaged: The file is not what it was.
            IntegrityError: The store has something else under its key.
        """
        known = await self._uploads.known(one.recorder_id, one.sha256)
        if known is not None:
            return known
        head = await self._put(one, policy)
        row = await self._row(one, head, policy)
        try:
            await self._ledger.append([entry_of(row, self._least(row.to_at, row.policy, row.delivered_at))])
        except IntegrityError as error:  # somebody changed it; the file waits here until a person has looked
            raise LedgerUnavailable(str(error)) from error
        return await self._uploads.add(row)

    async def _row(self, one: Delivery, head: Head, policy: str) -> UploadRow:
        """Make the row by what was said when it was written: said again, also by another host, it is the same."""
        said = {**_said(one), **head.metadata}
        from_at, to_at = Instant.parse(said["from"]), Instant.parse(said["to"])
        return UploadRow(
            key=one.key,
            recorder_id=one.recorder_id,
            session_id=said["session"],
            policy=said.get("policy", policy),
            from_at=from_at,
            to_at=to_at,
            bytes=one.bytes,
            sha256=one.sha256,
            version_id=head.version_id,
            media=one.media,
            via=said["via"],
            delivered_at=Instant.parse(said["delivered"]),
            stored_at=self._clock.now(),
            retain_until=head.retain_until or to_at,
            overlap_ms=await self._uploads.overlap_ms(one.recorder_id, from_at, to_at, but=one.key),
        )

    async def _put(self, one: Delivery, policy: str) -> Head:
        if one.path.exists():  # else a life before has given it to the store, which took it
            await self._store.put(
                one.key,
                one.path,
                sha256=one.sha256,
                retain_until=self._least(one.to_at, policy, self._clock.now()),
                tags={
                    "retention": RETENTION_CLASS,
                    "recorder": one.recorder_id,
                    "session": one.session_id,
                    "policy": policy,
                },
                metadata={"policy": policy, **_said(one)},
                content_type=content_type_of(one.key),
            )
        versions = await self._store.versions(one.key)
        head = await self._store.head(one.key, versions[0].version_id) if versions else None
        if head is None or (head.sha256, head.size) != (one.sha256, one.bytes):
            msg = f"{one.key}: the store's first version is not the file that was delivered"
            raise IntegrityError(msg)
        if head.retain_until is None or head.retain_until <= self._clock.now():
            msg = f"{one.key}: not locked"
            raise IntegrityError(msg)
        return head

    def _least(self, to_at: Instant, policy: str, now: Instant) -> Instant:
        """Return until when a file is locked at least where it is written at this moment."""
        return max(retain_until(to_at, self._book.find(policy) or policy), now.plus(SHORTEST_LOCK_MS))


def _said(one: Delivery) -> dict[str, str]:
    """Return what stands in the object's description: the first statement about a file is the one that counts."""
    return {
        "session": one.session_id,
        "from": one.from_at.rfc3339(),
        "to": one.to_at.rfc3339(),
        "via": one.via,
        "delivered": one.delivered_at.rfc3339(),
    }


def announcement(row: UploadRow) -> Backfilled:
    """Return the event of a stored file; the same however often it is said."""
    return Backfilled(
        at=row.stored_at,
        recorder_id=row.recorder_id,
        session_id=row.session_id,
        from_=row.from_at,
        to=row.to_at,
        sha256=row.sha256,
        key=row.key,
        version_id=row.version_id,
        bytes=row.bytes,
        delivered_at=row.delivered_at,
    )
