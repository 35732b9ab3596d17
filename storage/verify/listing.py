"""What stands in the store, the other way round: is each object one that the ledger knows?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable

from domain.clock import Clock, Instant
from domain.errors import IntegrityError
from domain.ids import is_recorder_id
from storage.layout import ROOT, UPLOADS
from storage.objects.port import Listed, ObjectStore
from storage.verify.books import PREFIX, is_ours
from storage.verify.fault import LEDGER, Fault
from storage.verify.owed import GRACE_MS

_FOOTAGE = (f"{ROOT}/", f"{UPLOADS}/")
_PROBES = "probe/"


class Listing:
    """Walks through the store.

    Args:
        store: To be walked through.
        clock: For the age of what is not known.
        knows: Tells whether the ledger has footage of a key.
    """

    def __init__(self, store: ObjectStore, clock: Clock, knows: Callable[[str], bool]) -> None:
        self.pending = 0
        """Objects without an entry that are so young that it may be on the way."""
        self._store = store
        self._clock = clock
        self._knows = knows

    async def run(self, *prefixes: str) -> AsyncIterator[Fault]:
        """Check what begins with any of these, everything where there are none.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        for prefix in prefixes or ("",):
            async for listed in self._store.list(prefix):
                for fault in await self._check(listed):
                    yield fault

    async def _check(self, listed: Listed) -> list[Fault]:
        if listed.key.startswith(PREFIX) and is_ours(listed.key):
            return await self._of_ledger(listed.key)
        if listed.key.startswith(_PROBES) or (listed.key.startswith(_FOOTAGE) and self._knows(listed.key)):
            return []
        if self._is_young(listed.modified_at):
            self.pending += 1
            return []
        detail = f"{listed.size} bytes of which the ledger says nothing"
        return [Fault("unlisted", listed.key, detail, _recorder(listed.key))]

    def _is_young(self, written_at: Instant | None) -> bool:
        return written_at is not None and abs(self._clock.now() - written_at) < GRACE_MS

    async def _of_ledger(self, key: str) -> list[Fault]:
        """Check an object of the ledger: one version, its bytes those that the store took, its lock not over."""
        versions = await self._store.versions(key)
        found = []
        if len(versions) != 1:
            found.append(Fault("hidden", key, f"{len(versions)} versions stand under this key"))
        first = next((one.version_id for one in versions if not one.is_delete_marker), "")
        try:
            head = await self._store.head(key, first)
            data = await self._store.get(key, first)
        except IntegrityError as error:
            return [*found, Fault("altered", key, str(error))]
        if head is None or hashlib.sha256(data).hexdigest() != head.sha256:
            found.append(Fault("altered", key, "its bytes are not those that the store took"))
        elif head.retain_until is None or head.retain_until < self._clock.now():
            found.append(Fault("unlocked", key, f"locked until {head.retain_until}"))
        return found


def _recorder(key: str) -> str:
    """Return whose footage an object would be, by its key."""
    parts = key.split("/")
    if parts[0] in {ROOT, UPLOADS} and len(parts) > 2 and is_recorder_id(parts[1]):
        return parts[1]
    return LEDGER
