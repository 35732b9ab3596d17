"""Uploads on disk: bytes, offset, description; what a power cut leaves is what was answered.

Layout, under one folder on one file system::

    host                             eight digits that end the id of each upload begun here
    partial/<id>.json .bin .offset   coming
    ready/<id>.json .bin             whole, SHA-256 verified, waiting for the store
    done/<id>.json                   in the store
    rejected/…                       could not be taken over, with a reason beside it

Bytes are fsynced before the offset that counts them is written, and that is fsynced before it is answered.
What stands behind the offset (a cut, a kill, a chunk with a wrong checksum) is cut off before anything is added. In
`ready/` the description comes last: without it the bytes are not there yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidSettings
from domain.settings import Settings
from streams.uploads.upload import Upload, media_of

_CHUNK_BYTES: Final = 1 << 20
_ID: Final = re.compile(r"[0-9a-f]{32}")
_decoder = msgspec.json.Decoder(Upload)


class Shelf:
    """The folders. Blocking; one thread at a time for one upload."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = ""
        """Ends the id of each upload that was begun here, and of none that was begun elsewhere."""
        self.partial, self.ready = root / "partial", root / "ready"
        self.done, self.rejected = root / "done", root / "rejected"

    def open(self) -> None:
        """Make the folders, and finish what was cut off between two renames.

        Raises:
            OSError: They cannot be made.
        """
        for folder in (self.partial, self.ready, self.done, self.rejected):
            folder.mkdir(parents=True, exist_ok=True)
        self.host = self._named()
        for upload in self.uploads(self.partial):
            if (self.ready / f"{upload.id}.json").exists():
                self._forget(upload.id)

    def own(self) -> int:
        """Take the folder for the uploads of this process alone; it is free again when the descriptor is closed.

        Raises:
            BlockingIOError: Another process takes uploads into it.
            OSError: It cannot be used.
        """
        lock = os.open(self.root / "taking", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        return lock

    def new_id(self) -> str:
        """Return an id that nobody can guess, and that tells where the upload was begun."""
        return secrets.token_hex(12) + self.host

    def is_elsewhere(self, upload_id: str) -> bool:
        """Tell whether an id is of an upload that was begun in another folder."""
        return bool(_ID.fullmatch(upload_id)) and not upload_id.endswith(self.host)

    def create(self, upload: Upload) -> None:
        """Begin one; it is there after a power cut too when this returns."""
        (self.partial / f"{upload.id}.bin").touch(exist_ok=False)
        write(self.partial / f"{upload.id}.offset", _offset(0))
        write(self.partial / f"{upload.id}.json", msgspec.json.encode(upload))

    def coming(self, upload_id: str) -> Upload | None:
        """Return one that is not whole yet."""
        return self._read(self.partial, upload_id)

    def whole(self, upload_id: str) -> Upload | None:
        """Return one that is whole, in the store or on its way there."""
        return self._read(self.ready, upload_id) or self._read(self.done, upload_id)

    def offset(self, upload_id: str) -> int:
        """Return how many bytes of it are safe."""
        return int((self.partial / f"{upload_id}.offset").read_bytes())

    def writer(self, upload_id: str) -> Writer:
        """Open it for writing behind its offset."""
        return Writer(self.partial / f"{upload_id}.bin", self.partial / f"{upload_id}.offset", self.offset(upload_id))

    def accept(self, upload: Upload, now: Instant, sha256: str = "") -> Upload:
        """Take a file whose bytes are all here for whole, if they are those that were announced.

        Args:
            upload: As announced.
            now: When it was delivered.
            sha256: Of its bytes where that is known; else they are read once more.

        Raises:
            IntegrityError: They are others; the upload is gone.
        """
        coming, ready = self.partial / f"{upload.id}.bin", self.ready / f"{upload.id}.bin"
        bytes_at = coming if coming.exists() else ready  # killed between the two renames
        found = sha256 or digest_of(bytes_at)
        if found != upload.sha256:
            self._forget(upload.id)
            msg = f"sha256: the file's is {found}, not {upload.sha256}"
            raise IntegrityError(msg)
        if bytes_at is coming:
            coming.rename(ready)
            sync(self.ready)
        whole = msgspec.structs.replace(upload, delivered_ms=int(now), media=media_of(ready))
        write(self.ready / f"{upload.id}.json", msgspec.json.encode(whole))
        self._forget(upload.id)
        return whole

    def adopt(self, upload: Upload, source: Path) -> None:
        """Put a verified file of this file system into `ready/`."""
        source.rename(self.ready / f"{upload.id}.bin")
        sync(self.ready)
        write(self.ready / f"{upload.id}.json", msgspec.json.encode(upload))

    def finish(self, upload: Upload) -> None:
        """Note that it is in the store; its bytes need not be here any more."""
        (self.ready / f"{upload.id}.bin").unlink(missing_ok=True)
        (self.ready / f"{upload.id}.json").rename(self.done / f"{upload.id}.json")

    def set_aside(self, upload: Upload, reason: str) -> None:
        """Keep one that the store will not have for a person to look at."""
        (self.rejected / f"{upload.id}.reason").write_text(reason + "\n")
        for suffix in ("bin", "json"):
            file = self.ready / f"{upload.id}.{suffix}"
            if file.exists():
                file.rename(self.rejected / file.name)

    def remove(self, upload_id: str) -> None:
        """Throw away one that is not whole."""
        self._forget(upload_id)

    def uploads(self, folder: Path) -> Iterator[Upload]:
        """Yield the descriptions in one of the folders, oldest first."""
        found = [self._read(folder, file.stem) for file in folder.glob("*.json")]
        yield from sorted((one for one in found if one is not None), key=lambda one: (one.created_ms, one.id))

    def expire(self, before_ms: int) -> int:
        """Remove what began before and is not whole, and forget what was stored long ago; returns how many."""
        partial = [one for one in self.uploads(self.partial) if self.touched_ms(one.id) < before_ms]
        for one in partial:
            self._forget(one.id)
        for one in self.uploads(self.done):
            if one.delivered_ms < before_ms:
                (self.done / f"{one.id}.json").unlink(missing_ok=True)
        return len(partial)

    def touched_ms(self, upload_id: str) -> int:
        """Return when bytes of it last came."""
        return round((self.partial / f"{upload_id}.offset").stat().st_mtime * 1000)

    def _named(self) -> str:
        """Return the folder's own digits, made when it was first opened; two processes may open it at once."""
        place = self.root / "host"
        draft = self.root / f"host.{secrets.token_hex(8)}"
        if not place.exists():
            draft.write_text(secrets.token_hex(4))
            try:
                os.link(draft, place)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return place.read_text()

    def _read(self, folder: Path, upload_id: str) -> Upload | None:
        if not _ID.fullmatch(upload_id):
            return None
        try:
            return _decoder.decode((folder / f"{upload_id}.json").read_bytes())
        except FileNotFoundError:
            return None

    def _forget(self, upload_id: str) -> None:
        for suffix in ("json", "bin", "offset"):
            (self.partial / f"{upload_id}.{suffix}").unlink(missing_ok=True)


def take_shelf(settings: Settings) -> tuple[Shelf, int]:
    """Open the folder that the settings name for taking uploads; closing the descriptor frees it for another process.

    Raises:
        InvalidSettings: It cannot be used, or another process takes uploads into it.
    """
    shelf = open_shelf(settings)
    try:
        return shelf, shelf.own()
    except BlockingIOError as error:
        msg = f"uploads: another process takes uploads into {shelf.root}; each ingest needs a folder of its own"
        raise InvalidSettings(msg, "uploads") from error
    except OSError as error:
        msg = f"uploads: {shelf.root} cannot be used: {error.strerror}"
        raise InvalidSettings(msg, "uploads") from error


def open_shelf(settings: Settings) -> Shelf:
    """Open the folder that the settings name.

    Raises:
        InvalidSettings: It cannot be used.
    """
    shelf = Shelf(Path(settings.uploads or f"{settings.work}/uploads"))
    try:
        shelf.open()
    except OSError as error:
        msg = f"uploads: {shelf.root} cannot be used: {error.strerror}"
        raise InvalidSettings(msg, "uploads") from error
    return shelf


class Writer:
    """One upload's bytes, open for appending.

    The offset always has the same width and is written in place: a few bytes of one sector, which a disk writes whole
    or not at all. A new file and a rename for each would make the file system's journal wait three times as often.

    Attributes:
        at: Bytes written, safe or not.
    """

    def __init__(self, path: Path, offset_path: Path, at: int) -> None:
        self.at = at
        self._safe = at
        self._offset = os.open(offset_path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._offset)
            raise
        os.ftruncate(self._descriptor, at)
        os.lseek(self._descriptor, at, os.SEEK_SET)

    @property
    def unsafe_bytes(self) -> int:
        """Bytes that a power cut would take."""
        return self.at - self._safe

    def write(self, data: bytes | memoryview, hashes: list[Any]) -> None:
        """Append, and add to each hash."""
        for one in hashes:
            one.update(data)
        left = memoryview(data)
        while left:
            written = os.write(self._descriptor, left)
            left = left[written:]
            self.at += written

    def sync(self) -> None:
        """Make it safe, then say so."""
        if self.unsafe_bytes:
            os.fdatasync(self._descriptor)
            os.pwrite(self._offset, _offset(self.at), 0)
            os.fdatasync(self._offset)
            self._safe = self.at

    def discard(self) -> None:
        """Take back what is not safe yet."""
        os.ftruncate(self._descriptor, self._safe)
        os.lseek(self._descriptor, self._safe, os.SEEK_SET)
        self.at = self._safe

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
        os.close(self._offset)


def _offset(at: int) -> bytes:
    return b"%020d" % at


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all, also through a power cut."""
    draft = path.with_name(path.name + ".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make renames in a folder safe."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
