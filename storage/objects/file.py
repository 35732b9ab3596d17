"""Objects in a directory of one machine: for one site, the demonstration and tests.

Beside each other in the root stand `objects/` (the bytes, under their keys), `meta/` (one JSON file each: hash, lock,
legal hold, tags) and `tmp/`. The order of a put, so that a crash anywhere leaves either nothing or a whole pair:

1. The bytes stand in `tmp/` (linked there where they are on the same file system, else copied) and are fsynced.
2. The description is written, fsynced and renamed into `meta/`.
3. The bytes are linked to their key, which fails where one is (create-only), and the directory is fsynced.

An object is there when its bytes are; a description without bytes is left-over and is replaced. Steps 2 and 3 run
under a lock file, so that two writers never mix their pairs. A lock, a hold or tags change by writing the description
anew, as in step 2: after a crash it is the old one or the new one. Read-only modes keep honest programs out; against
root there is `?immutable=1` (the ext4 and XFS attribute, needs CAP_LINUX_IMMUTABLE), and in earnest an S3 with object
lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from domain.clock import Clock, Instant, SystemClock
from domain.errors import IntegrityError, Refused, StoreUnavailable
from storage.objects.disk import (
    copy,
    files,
    linked,
    make_folder,
    probe_immutable,
    probe_link,
    set_immutable,
    sync_folder,
)
from storage.objects.port import CHUNK_BYTES, SCAN_BYTES, Head, Listed, SourceDamaged, Stored, Version, missing

STAGED_FOR_S = 86_400.0
"""What stands in `tmp/` for longer was left by a process that was killed."""


class _Meta(msgspec.Struct, frozen=True):
    """The description beside an object."""

    sha256: str
    size: int
    retain_until_ms: int
    content_type: str
    tags: dict[str, str]
    metadata: dict[str, str]
    legal_hold: bool = False


class FileStore:
    """See the module. A file's hash is the caller's word: its bytes never leave this machine's page cache in between.

    Args:
        root: Directory, made where missing.
        immutable: Set the immutable attribute on each object.
        clock: For locks.
    """

    threads = 4

    def __init__(self, root: Path, *, immutable: bool = False, clock: Clock | None = None) -> None:
        self._root = root
        self._objects, self._metas, self._tmp = root / "objects", root / "meta", root / "tmp"
        self._immutable = immutable
        self._clock = clock or SystemClock()

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
        if isinstance(source, bytes) and hashlib.sha256(source).hexdigest() != sha256:
            msg = f"{key}: its bytes are not those of the hash"
            raise SourceDamaged(msg)
        with _translated(key):
            target = self._objects / key
            if target.exists():
                return self._known(key, source, sha256)
            staged = self._stage(source)
            try:
                meta = _Meta(sha256, staged.stat().st_size, int(retain_until), content_type, dict(tags), dict(metadata))
                created = self._publish(key, staged, meta)
            finally:
                staged.unlink(missing_ok=True)
            if not created:
                return self._known(key, source, sha256)
            _take(source)
            if self._immutable:
                set_immutable(target, True)
            return Stored("", meta.size)

    def head(self, key: str, version_id: str) -> Head | None:
        """See `ObjectStore.head`."""
        with _translated(key):
            meta = self._meta(key)
            if meta is None or version_id:
                return None
            locked = Instant(meta.retain_until_ms)
            return Head(key, "", meta.size, meta.sha256, locked, meta.metadata, meta.legal_hold)

    def tags(self, key: str, version_id: str) -> dict[str, str]:
        """See `ObjectStore.tags`."""
        with _translated(key):
            meta = self._meta(key)
        if meta is None or version_id:
            raise missing(key)
        return meta.tags

    def read(self, key: str, version_id: str, start: int, length: int | None) -> Iterator[bytes]:
        """See `ObjectStore.open_range`."""
        with _translated(key):
            if version_id or not (self._objects / key).is_file():
                raise missing(key)
            descriptor = os.open(self._objects / key, os.O_RDONLY | os.O_CLOEXEC)
        return _pieces(key, descriptor, start, length)

    def scan(self, key: str, version_id: str) -> Iterator[bytes | memoryview]:
        """See `BlockingStore.scan`. Not mapped: a sector that cannot be read must be an error, not a signal."""
        with _translated(key):
            if version_id or not (self._objects / key).is_file():
                raise missing(key)
            buffer = memoryview(bytearray(SCAN_BYTES))
            with (self._objects / key).open("rb", buffering=0) as data:
                os.posix_fadvise(data.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                while length := data.readinto(buffer):
                    yield buffer[:length]

    def versions(self, key: str) -> list[Version]:
        """See `ObjectStore.versions`."""
        with _translated(key):
            path = self._objects / key
            return [Version("", path.stat().st_size)] if path.is_file() else []

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `ObjectStore.list`."""
        folder = prefix.rpartition("/")[0]
        with _translated(prefix):
            for path in files(self._objects / folder):
                key = path.relative_to(self._objects).as_posix()
                if key.startswith(prefix):
                    found = path.stat()
                    yield Listed(key, found.st_size, Instant(found.st_mtime_ns // 1_000_000))

    def retain(self, key: str, version_id: str, until: Instant) -> None:
        """See `BlockingStore.retain`."""
        with self._described(key, version_id) as meta:
            if until < meta.retain_until_ms:  # somebody else has lengthened it in between
                msg = f"{key}: locked until {Instant(meta.retain_until_ms)}, which is never shortened"
                raise Refused(msg)
            self._write_meta(key, msgspec.structs.replace(meta, retain_until_ms=int(until)))

    def hold(self, key: str, version_id: str, on: bool) -> None:
        """See `ObjectStore.hold`."""
        with self._described(key, version_id) as meta:
            if meta.legal_hold != on:
                self._write_meta(key, msgspec.structs.replace(meta, legal_hold=on))

    def set_tags(self, key: str, version_id: str, tags: Mapping[str, str]) -> None:
        """See `ObjectStore.set_tags`."""
        with self._described(key, version_id) as meta:
            if meta.tags != tags:
                self._write_meta(key, msgspec.structs.replace(meta, tags=dict(tags)))

    def delete(self, key: str, version_id: str) -> None:
        """See `ObjectStore.delete`."""
        with _translated(key), self._lock():
            meta = self._meta(key)
            if meta is None or version_id:
                return
            if meta.legal_hold:
                msg = f"{key}: under legal hold"
                raise Refused(msg)
            if self._clock.now() < meta.retain_until_ms:
                msg = f"{key}: locked until {Instant(meta.retain_until_ms)}"
                raise Refused(msg)
            path = self._objects / key
            set_immutable(path, False)
            path.unlink()
            sync_folder(path.parent)
            self._meta_path(key).unlink()

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        with _translated("probe"):
            make_folder(self._tmp)
            self._sweep()
            staged = self._stage(b"probe")
            link = staged.with_suffix(".link")
            try:
                probe_link(staged, link)
                if self._immutable:
                    probe_immutable(link)
            finally:
                link.unlink(missing_ok=True)
                staged.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what processes that were killed have left staged; no put takes a day."""
        for left in self._tmp.iterdir():
            with suppress(OSError):  # another process puts or sweeps too, or the object it became is immutable
                if time.time() - left.stat().st_ctime > STAGED_FOR_S:
                    left.unlink()

    def close(self) -> None:
        """Nothing is held."""

    def _stage(self, source: Path | bytes) -> Path:
        """Step 1. A source whose fsync failed must not be used again: its dirty pages may be gone."""
        make_folder(self._tmp)
        staged = self._tmp / uuid.uuid4().hex
        if isinstance(source, bytes) or not linked(source, staged):
            copy(source, staged)
        descriptor = os.open(staged, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
            # Read again by chance, if at all: its memory is better used for what is written next.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            staged.unlink(missing_ok=True)
            msg = f"{staged}: not known to be on the disk: {error.strerror}"
            raise SourceDamaged(msg) from error
        finally:
            os.close(descriptor)
        return staged

    def _publish(self, key: str, staged: Path, meta: _Meta) -> bool:
        """Steps 2 and 3. False where the key is taken."""
        target = self._objects / key
        with self._lock():
            if target.exists():
                return False
            self._write_meta(key, meta)
            make_folder(target.parent)
            target.hardlink_to(staged)
            sync_folder(target.parent)
            return True

    def _write_meta(self, key: str, meta: _Meta) -> None:
        path = self._meta_path(key)
        make_folder(path.parent)
        draft = self._tmp / uuid.uuid4().hex
        try:
            copy(msgspec.json.encode(meta), draft, sync=True)
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)

    def _known(self, key: str, source: Path | bytes, sha256: str) -> Stored:
        meta = self._meta(key)
        if meta is None or meta.sha256 != sha256:
            msg = f"{key}: stands in the store with other bytes"
            raise IntegrityError(msg)
        sync_folder((self._objects / key).parent)  # a crash may have come between its link and its fsync
        _take(source)
        return Stored("", meta.size)

    def _meta(self, key: str) -> _Meta | None:
        try:
            size = (self._objects / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            meta = msgspec.json.decode(self._meta_path(key).read_bytes(), type=_Meta)
        except (FileNotFoundError, msgspec.MsgspecError) as error:
            msg = f"{key}: its description is missing or cannot be read"
            raise IntegrityError(msg) from error
        if meta.size != size:
            msg = f"{key}: {size} bytes long, was written with {meta.size}"
            raise IntegrityError(msg)
        return meta

    @contextmanager
    def _described(self, key: str, version_id: str) -> Iterator[_Meta]:
        """Hold the lock file, with the description of an object that is there."""
        with _translated(key), self._lock():
            meta = None if version_id else self._meta(key)
            if meta is None:
                raise missing(key)
            yield meta

    def _meta_path(self, key: str) -> Path:
        return self._metas / f"{key}.json"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        make_folder(self._root)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{what}: {error.strerror or error}"
        raise StoreUnavailable(msg) from error


def _take(source: Path | bytes) -> None:
    if isinstance(source, Path):
        source.unlink(missing_ok=True)


def _pieces(key: str, descriptor: int, start: int, length: int | None) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb", buffering=0) as data, _translated(key):
        data.seek(start)
        left = length if length is not None else os.fstat(descriptor).st_size
        while left > 0 and (piece := data.read(min(left, CHUNK_BYTES))):
            left -= len(piece)
            yield piece
