"""An object's bytes, read once: the hash of the whole, and that of each fragment, as they pass."""

from __future__ import annotations

import hashlib
from io import BytesIO

from domain.errors import IntegrityError
from storage.manifest import MAX_MANIFEST_BYTES, FragmentEntry, Manifest, box, read
from storage.objects.port import ObjectStore

_TAIL_BYTES = 65_536
"""Enough for the manifest of a minute; a larger one takes a second read."""


class Scan:
    """Takes an object's pieces in order.

    Args:
        manifest: What the object says it is made of; None where that cannot be read, and only the whole is hashed.
    """

    def __init__(self, manifest: Manifest | None) -> None:
        self.size = 0
        self.broken: list[int] = []
        """Numbers of the fragments whose bytes are not those of their hash."""
        self._whole = hashlib.sha256()
        self._init = bytearray()
        self._init_bytes = 0 if manifest is None else manifest.init_bytes
        self._ahead = [] if manifest is None else manifest.fragments[::-1]
        self._fragment = hashlib.sha256()
        self._left = 0

    @property
    def sha256(self) -> str:
        """Of everything so far."""
        return self._whole.hexdigest()

    def take(self, piece: bytes | memoryview) -> None:
        """Take the next piece; it is not kept."""
        self._whole.update(piece)
        self.size += len(piece)
        rest = memoryview(piece)
        if missing := self._init_bytes - len(self._init):
            self._init += rest[:missing]
            rest = rest[missing:]
        while rest and self._ahead:
            rest = self._of_fragment(rest)

    def _of_fragment(self, rest: memoryview) -> memoryview:
        entry = self._ahead[-1]
        if not self._left:
            self._fragment, self._left = hashlib.sha256(self._init), entry.bytes
        part = rest[: self._left]
        self._fragment.update(part)
        self._left -= len(part)
        if not self._left:
            self._end(self._ahead.pop())
        return rest[len(part) :]

    def _end(self, entry: FragmentEntry) -> None:
        if self._fragment.hexdigest() != entry.sha256:
            self.broken.append(entry.seq)

    def finish(self) -> None:
        """The object is over: what has not come is broken too."""
        self.broken += [entry.seq for entry in reversed(self._ahead)]
        self._ahead = []


async def manifest_of(store: ObjectStore, key: str, version_id: str, size: int) -> Manifest:
    """Read the manifest of an object of this size, and see that its fragments lie one after another.

    Raises:
        IntegrityError: There is none, or it cannot be so.
    """
    tail = await _range(store, key, version_id, size, _TAIL_BYTES)
    if int.from_bytes(tail[-4:], "big") > len(tail):
        tail = await _range(store, key, version_id, size, MAX_MANIFEST_BYTES)
    manifest = read(BytesIO(tail))
    end = manifest.init_bytes
    for entry in manifest.fragments:
        if entry.offset != end or entry.bytes <= 0:
            msg = f"its manifest puts fragment {entry.seq} at byte {entry.offset}, and the one before ends at {end}"
            raise IntegrityError(msg)
        end += entry.bytes
    if manifest.init_bytes < 0 or end + len(box(manifest)) != size:
        msg = f"its manifest speaks of {end} bytes of media, and it is {size} long"
        raise IntegrityError(msg)
    return manifest


async def _range(store: ObjectStore, key: str, version_id: str, size: int, length: int) -> bytes:
    start = max(0, size - length)
    return b"".join([piece async for piece in store.open_range(key, version_id, start, length)])
