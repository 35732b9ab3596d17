"""One object copied to the second store, and kept as the first one keeps it.

1. **Fetch** the version that the ledger names into a file, hashing it on the way: what is not what was written is not
   copied, but told.
2. **Put** it, create-only, with the lock, the tags and the description it has.
3. **Read it back** whole, and compare its hash.
4. **Hold** it where the first one is held.

Each step may be repeated: the second store has the object then, and says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, Refused
from storage.catalog.rows import ObjectRow
from storage.layout import content_type_of
from storage.objects.port import Head, ObjectStore

_SHORTEST_LOCK_MS = 86_400_000
"""No store locks until the past; what must stay is locked for longer by the custody worker, and then here too."""


class Copying:
    """See the module.

    Args:
        first: The evidence store.
        second: The other one.
        clock: For locks.
        folder: For files on their way.
    """

    def __init__(self, first: ObjectStore, second: ObjectStore, clock: Clock, folder: Path) -> None:
        self._first = first
        self._second = second
        self._clock = clock
        self._folder = folder

    async def copy(self, row: ObjectRow) -> bool:
        """Copy an object; False where the first store does not have it.

        Raises:
            IntegrityError: The first store has other bytes than were written, or the second one has.
            Unavailable: Try again.
        """
        head = await self._first.head(row.key, row.version_id)
        if head is None:
            return False
        part = await asyncio.to_thread(self._new_part)
        try:
            await self._fetch(row, part)  # step 1
            version = await self._put(row, head, part)  # step 2
        finally:
            part.unlink(missing_ok=True)
        await self._read_back(row, version)  # step 3
        if head.legal_hold:
            await self._second.hold(row.key, version, True)  # step 4
        return True

    async def keep(self, row: ObjectRow) -> bool:
        """Give the copy the lock, the hold and the tags that the first one has now; copy it where there is none.

        Returns:
            Whether there was anything to do.

        Raises:
            IntegrityError: As for `copy`.
            Unavailable: Try again.
        """
        first = await self._first.head(row.key, row.version_id)
        if first is None:
            return False
        version = await self._version(row.key)
        second = None if version is None else await self._second.head(row.key, version)
        if version is None or second is None:
            return await self.copy(row)
        if second.sha256 != row.sha256 or second.size != row.bytes:
            msg = f"{row.key}: the copy off site is not what was stored"
            raise IntegrityError(msg)
        return await self._align(row.key, version, first, second) or await self._align_tags(row, version)

    async def drop(self, row: ObjectRow) -> bool:
        """Delete the copy of what was deleted with a receipt; False where its lock is not over, or there is none.

        Raises:
            Unavailable: Try again.
        """
        version = await self._version(row.key)
        if version is None:
            return False
        try:
            await self._second.hold(row.key, version, False)
            await self._second.delete(row.key, version)
        except Refused:
            return False
        return True

    def _new_part(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{uuid.uuid4().hex}.part"

    async def _fetch(self, row: ObjectRow, part: Path) -> None:
        digest = hashlib.sha256()
        with part.open("xb") as out:

            def take(piece: bytes | memoryview) -> None:
                digest.update(piece)
                out.write(piece)

            await self._first.feed(row.key, row.version_id, take)
        if digest.hexdigest() != row.sha256:
            msg = f"{row.key}: its bytes are not those that were stored; it is not copied"
            raise IntegrityError(msg)

    async def _put(self, row: ObjectRow, head: Head, part: Path) -> str:
        least = self._clock.now().plus(_SHORTEST_LOCK_MS)
        stored = await self._second.put(
            row.key,
            part,
            sha256=row.sha256,
            retain_until=max(head.retain_until or least, least),
            tags=await self._first.tags(row.key, row.version_id),
            metadata=head.metadata,
            content_type=content_type_of(row.key),
        )
        return stored.version_id

    async def _read_back(self, row: ObjectRow, version: str) -> None:
        digest = hashlib.sha256()
        await self._second.feed(row.key, version, digest.update)
        if digest.hexdigest() != row.sha256:
            msg = f"{row.key}: the copy off site, read back, is not what was stored"
            raise IntegrityError(msg)

    async def _align(self, key: str, version: str, first: Head, second: Head) -> bool:
        done = False
        wanted, locked = first.retain_until or Instant(0), second.retain_until or Instant(0)
        if wanted > locked:
            await self._second.retain(key, version, wanted)
            done = True
        if first.legal_hold != second.legal_hold:
            await self._second.hold(key, version, first.legal_hold)
            done = True
        return done

    async def _align_tags(self, row: ObjectRow, version: str) -> bool:
        tags = await self._first.tags(row.key, row.version_id)
        if tags == await self._second.tags(row.key, version):
            return False
        await self._second.set_tags(row.key, version, tags)
        return True

    async def _version(self, key: str) -> str | None:
        """Return the version of the copy: the one written first."""
        versions = [one for one in await self._second.versions(key) if not one.is_delete_marker]
        return versions[0].version_id if versions else None
