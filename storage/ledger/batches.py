"""The entries themselves as locked objects in the evidence store, so that the ledger outlives its database.

`ledger/entries/<first>-<end>.ndjson`, both of twelve digits, `end` exclusive: the lines between two checkpoints, cut
where that is much. A batch is written again after a crash, perhaps cut elsewhere: batches may overlap, and then agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from domain.clock import Clock
from domain.errors import IntegrityError
from storage.ledger.entry import decode
from storage.ledger.ledger import Ledger
from storage.ledger.statements import Delivery
from storage.objects.port import ObjectStore

PLACE = "entries"
PREFIX = "ledger/entries/"
MAX_ENTRIES = 10_000
MAX_BYTES = 16_000_000
"""A batch is cut where it is this long: it is made and read in memory."""

_RESTORED_AT_ONCE = 500


class Batches:
    """Writes what a checkpoint covers to the store.

    Args:
        ledger: From where.
        store: To where.
        lock_ms: For how long an object is locked.
        clock: For the lock's end.
        place: Under which name the ledger notes how much is written: of another store, another one.
    """

    def __init__(self, ledger: Ledger, store: ObjectStore, lock_ms: int, clock: Clock, place: str = PLACE) -> None:
        self._ledger = ledger
        self._store = store
        self._lock_ms = lock_ms
        self._clock = clock
        self._place = place

    async def write(self, until: int) -> None:
        """Write every entry below `until` that is not there yet.

        Raises:
            Unavailable: Some are missing; call again.
            IntegrityError: The store has other entries under these numbers.
        """
        done = {one.place: one.size for one in await self._ledger.deliveries()}.get(self._place, 0)
        while done < until:
            lines = await self._lines(done, until)
            key = f"{PREFIX}{done:012}-{done + len(lines):012}.ndjson"
            await self._put(key, b"".join(line + b"\n" for line in lines))
            done += len(lines)
            await self._ledger.set_delivery(Delivery(self._place, done, self._clock.now(), key))

    async def _lines(self, start: int, until: int) -> list[bytes]:
        found: list[bytes] = []
        length = 0
        async for _, line in self._ledger.read(start, min(until, start + MAX_ENTRIES)):
            if found and length + len(line) >= MAX_BYTES:
                break
            found.append(line)
            length += len(line) + 1
        return found

    async def _put(self, key: str, data: bytes) -> None:
        await self._store.put(
            key,
            data,
            sha256=hashlib.sha256(data).hexdigest(),
            retain_until=self._clock.now().plus(self._lock_ms),
            tags={"retention": "ledger"},
            metadata={},
            content_type="application/x-ndjson",
        )


async def read_batches(store: ObjectStore, start: int = 0) -> AsyncIterator[tuple[int, bytes]]:
    """Read index and line of every entry from `start` on that stands in the store, in order.

    Each object is read in the version written first, so that nothing can be hidden behind a newer one.

    Raises:
        IntegrityError: Entries are missing in between, or two objects do not agree.
    """
    done = start
    last = b""
    async for listed in store.list(PREFIX):
        first, end = _numbers(listed.key)
        if end <= done:
            continue
        if first > done:
            msg = f"ledger: entries {done} to {first} are not in the store"
            raise IntegrityError(msg)
        lines = await _read(store, listed.key, end - first)
        if first < done and last and lines[done - 1 - first] != last:
            msg = f"{listed.key}: does not agree with the object before it about entry {done - 1}"
            raise IntegrityError(msg)
        for index in range(done, end):
            yield index, lines[index - first]
        done, last = end, lines[-1]


async def restore(ledger: Ledger, store: ObjectStore) -> int:
    """Append what the store has and the ledger has not: its database was lost, or an old copy of it was put back.

    Returns:
        The number of entries that were added.

    Raises:
        IntegrityError: The store lacks entries, or says something else than the ledger.
    """
    size = await ledger.size()
    waiting: list[tuple[int, bytes]] = []
    async for one in read_batches(store, max(0, size - 1)):  # the last one too: both must have it
        waiting.append(one)
        if len(waiting) == _RESTORED_AT_ONCE:
            await _append(ledger, waiting)
            waiting = []
    await _append(ledger, waiting)
    return await ledger.size() - size


async def _append(ledger: Ledger, waiting: list[tuple[int, bytes]]) -> None:
    found = await ledger.append([decode(line) for _, line in waiting])
    for (index, _), at in zip(waiting, found, strict=True):
        if index != at:
            msg = f"ledger: what the store has as entry {index} is entry {at} of the ledger"
            raise IntegrityError(msg)


async def _read(store: ObjectStore, key: str, count: int) -> list[bytes]:
    versions = [version for version in await store.versions(key) if not version.is_delete_marker]
    lines = (await store.get(key, versions[0].version_id if versions else "")).split(b"\n")
    if len(lines) != count + 1 or lines.pop():
        msg = f"{key}: does not hold {count} entries"
        raise IntegrityError(msg)
    return lines


def _numbers(key: str) -> tuple[int, int]:
    first, _, end = key.removeprefix(PREFIX).removesuffix(".ndjson").partition("-")
    if not (first.isdigit() and end.isdigit() and int(first) < int(end)):
        msg = f"{key}: is no batch of entries"
        raise IntegrityError(msg)
    return int(first), int(end)
