"""The object store port, and its asynchronous face.

Rules that every implementation keeps, and the contract suite checks:

1. `put` only creates. The same key with the same bytes is success and gives the version written first; with other
   bytes it raises `IntegrityError` and changes nothing.
2. When `put` returns, the object survives the death of every process and machine the store promises to survive, and
   cannot be deleted or replaced before `retain_until` by anybody who comes through the store.
3. Nothing half-written is ever seen under a key.
4. What was written is read by its version id; `versions` shows whether something newer hides it.
5. A lock is only ever lengthened. `retain` refuses an earlier time before the store is asked, and the store refuses it
   too. A legal hold keeps a version from being deleted for as long as it is on, whatever its lock says.
6. A store across a network checks the bytes against `sha256` on its side, not only on ours.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidInput, Refused, StoreUnavailable

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
SCAN_BYTES = 1 << 20
"""Piece in which a whole object is read to be hashed."""
LISTED_AT_ONCE = 1000

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,199}")
_MAX_KEY_CHARS = 200


class SourceDamaged(StoreUnavailable):
    """The file given to `put` is not (or may not be) what it was: make it again from where it came from."""


class Stored(msgspec.Struct, frozen=True):
    """Where an object now is.

    Attributes:
        version_id: Of the first version under this key; empty where the store has none.
        size: Bytes.
    """

    version_id: str
    size: int


class Head(msgspec.Struct, frozen=True):
    """What a store says of one version.

    Attributes:
        key: Object key.
        version_id: Version; empty where the store has none.
        size: Bytes.
        sha256: As the store computed or checked it when the object was written.
        retain_until: Locked until then; None where it is not locked.
        metadata: As given to `put`.
        legal_hold: Held until somebody lifts it, beside the lock.
    """

    key: str
    version_id: str
    size: int
    sha256: str
    retain_until: Instant | None
    metadata: Mapping[str, str]
    legal_hold: bool = False


class Version(msgspec.Struct, frozen=True):
    """One version under a key.

    Attributes:
        version_id: Version; empty where the store has none.
        size: Bytes; 0 for a delete marker.
        is_delete_marker: It hides what is older.
    """

    version_id: str
    size: int
    is_delete_marker: bool = False


class Listed(msgspec.Struct, frozen=True):
    """One key in a listing.

    Attributes:
        key: Object key.
        size: Bytes.
        modified_at: When it was written, by the store; None where it does not say.
    """

    key: str
    size: int
    modified_at: Instant | None = None


class BlockingStore(Protocol):
    """What an implementation does, called on worker threads, from several at once."""

    threads: int

    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        retain_until: Instant,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str,
    ) -> Stored:
        """See `ObjectStore.put`."""
        ...

    def head(self, key: str, version_id: str) -> Head | None:
        """See `ObjectStore.head`."""
        ...

    def tags(self, key: str, version_id: str) -> dict[str, str]:
        """See `ObjectStore.tags`."""
        ...

    def read(self, key: str, version_id: str, start: int, length: int | None) -> Iterator[bytes]:
        """See `ObjectStore.open_range`."""
        ...

    def scan(self, key: str, version_id: str) -> Iterator[bytes | memoryview]:
        """Read a whole object; a piece may be overwritten when the next one is asked for."""
        ...

    def versions(self, key: str) -> list[Version]:
        """See `ObjectStore.versions`."""
        ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `ObjectStore.list`."""
        ...

    def retain(self, key: str, version_id: str, until: Instant) -> None:
        """Set the lock of a version to a later time; `ObjectStore.retain` has seen to it that it is later."""
        ...

    def hold(self, key: str, version_id: str, on: bool) -> None:
        """See `ObjectStore.hold`."""
        ...

    def set_tags(self, key: str, version_id: str, tags: Mapping[str, str]) -> None:
        """See `ObjectStore.set_tags`."""
        ...

    def delete(self, key: str, version_id: str) -> None:
        """See `ObjectStore.delete`."""
        ...

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class ObjectStore:
    """A store, for use on the event loop: each call runs on one of the implementation's few threads.

    Calls wait in the pool's queue; callers await each, so what can wait is bounded by the callers. Any method may
    raise `StoreUnavailable` (the same call may work later), `NotAuthorized` or `StoreUnfit`.
    """

    def __init__(self, store: BlockingStore) -> None:
        self.blocking = store
        self._threads = ThreadPoolExecutor(store.threads, "store")

    async def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        retain_until: Instant,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> Stored:
        """Create an object, locked until `retain_until`.

        Args:
            key: See `check_key`.
            source: The bytes, or a file that nobody writes to any more. The file is the store's from now on, which may
                make it the object itself; it is gone when this returns normally, and still there when it raises.
            sha256: Of the bytes, lower-case hex.
            retain_until: Nobody may delete or replace it before.
            tags: For the store's own life-cycle rules and people who look at it.
            metadata: Small ASCII values that stay with the object.
            content_type: Media type.

        Raises:
            IntegrityError: Other bytes stand under this key.
            SourceDamaged: The file's bytes are not those of `sha256`, or may not have reached the disk.
        """
        check_key(key)

        def put() -> Stored:
            return self.blocking.put(
                key,
                source,
                sha256=sha256,
                retain_until=retain_until,
                tags=tags,
                metadata=metadata,
                content_type=content_type,
            )

        return await self._run(put)

    async def head(self, key: str, version_id: str = "") -> Head | None:
        """Describe one version (the newest where `version_id` is empty), None where there is none.

        Raises:
            IntegrityError: Something is there, but not a whole object.
        """
        check_key(key)
        return await self._run(lambda: self.blocking.head(key, version_id))

    async def tags(self, key: str, version_id: str = "") -> dict[str, str]:
        """Return an object's tags.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)
        return await self._run(lambda: self.blocking.tags(key, version_id))

    async def open_range(
        self, key: str, version_id: str = "", start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Read `length` bytes from `start` in pieces of at most 256 KiB; to the end where `length` is None.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)
        pieces = await self._run(lambda: self.blocking.read(key, version_id, start, length))
        while (piece := await self._run(lambda: next(pieces, None))) is not None:
            yield piece

    async def get(self, key: str, version_id: str = "") -> bytes:
        """Read a whole object into memory.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)
        return await self._run(lambda: b"".join(self.blocking.read(key, version_id, 0, None)))

    async def feed(self, key: str, version_id: str, take: Callable[[bytes | memoryview], None]) -> None:
        """Hand a whole object to `take`, piece by piece, all on one thread: for hashing, with nothing copied.

        Args:
            key: Of the object.
            version_id: As in `head`.
            take: Must be done with a piece when it returns.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)

        def feed() -> None:
            for piece in self.blocking.scan(key, version_id):
                take(piece)

        await self._run(feed)

    async def versions(self, key: str) -> list[Version]:
        """List what stands under a key, oldest first, delete markers too."""
        check_key(key)
        return await self._run(lambda: self.blocking.versions(key))

    async def list(self, prefix: str = "") -> AsyncIterator[Listed]:
        """List the keys that begin with `prefix`, in order of their bytes; those hidden by a delete marker are not."""
        listed = await self._run(lambda: self.blocking.list(prefix))
        while some := await self._run(lambda: _some(listed)):
            for one in some:
                yield one

    async def retain(self, key: str, version_id: str, until: Instant) -> Instant:
        """Lengthen a version's lock to `until`, rounded up to a whole second, as S3 keeps it.

        Returns:
            Until when it is locked now: later than `until` by less than a second, or as it was where that is the same.

        Raises:
            Refused: It is locked for longer; the store was not asked to shorten it.
            IntegrityError: It is not there.
        """
        check_key(key)
        wanted = Instant(-(-until // 1000) * 1000)

        def retain() -> Instant:
            found = self.blocking.head(key, version_id)
            if found is None:
                raise missing(key)
            if found.retain_until is not None and found.retain_until > wanted:
                msg = f"{key}: locked until {found.retain_until}, which is never shortened to {until}"
                raise Refused(msg)
            if found.retain_until != wanted:
                self.blocking.retain(key, version_id, wanted)
            return wanted

        return await self._run(retain)

    async def hold(self, key: str, version_id: str, on: bool) -> None:
        """Put a legal hold on a version, or lift it; the same again changes nothing.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)
        await self._run(lambda: self.blocking.hold(key, version_id, on))

    async def set_tags(self, key: str, version_id: str, tags: Mapping[str, str]) -> None:
        """Give a version these tags in place of those it has.

        Raises:
            IntegrityError: It is not there.
        """
        check_key(key)
        await self._run(lambda: self.blocking.set_tags(key, version_id, tags))

    async def delete(self, key: str, version_id: str = "") -> None:
        """Delete one version for good; nothing happens where it is not there.

        Raises:
            Refused: It is locked, or held.
        """
        check_key(key)
        await self._run(lambda: self.blocking.delete(key, version_id))

    async def probe(self) -> None:
        """Find out, on a small object of its own, whether this store can keep evidence.

        Raises:
            StoreUnfit: It cannot; says what to do.
        """
        await self._run(self.blocking.probe)

    async def close(self) -> None:
        """Finish what is running and disconnect."""
        await asyncio.to_thread(self._threads.shutdown)
        self.blocking.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def check_key(key: str) -> str:
    """Return the key unchanged: parts of letters, digits and `. _ : = -` between slashes, 200 characters in all.

    Raises:
        InvalidInput: It could mean something else to a file system or a URL.
    """
    parts = key.split("/")
    if len(key) > _MAX_KEY_CHARS or not all(_PART.fullmatch(part) for part in parts):
        msg = f"key: {key!r} is not made of letters, digits and . _ : = - in parts between slashes"
        raise InvalidInput(msg, "key")
    return key


def missing(key: str) -> IntegrityError:
    """Return the error of reading what is not there."""
    return IntegrityError(f"{key}: not in the store")


def _some(listed: Iterator[Listed]) -> list[Listed]:
    return [one for _, one in zip(range(LISTED_AT_ONCE), listed, strict=False)]
