"""Views of files that were delivered later: made when somebody wants to see them, kept for a while.

The original is never touched: it is read from the store, hashed on the way, and taken apart by a process of its own
(`storage.views.remux`). What comes out lies in the work folder until room is needed; it is derived data, and made
again where it is missing or not what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import struct
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from dashboards.hls.mp4 import take_apart
from domain.errors import IntegrityError, InvalidMedia, Unavailable
from storage.catalog.rows import UploadRow
from storage.objects.port import ObjectStore
from storage.views.remux import PLAYABLE, WALL_S, remux

MAX_BYTES = 10 * 1024**3
"""Views kept; the one unused for longest goes."""
UNUSED_S = 3600.0
"""A view that nobody has looked at for so long goes: none outlives its original, which may be deleted, by more."""
SWEEP_EVERY_S = 300.0
FREE_BYTES = 1024**3
"""Always left free on the disk."""
MAX_MAKING = 8
"""Views being made or waiting for their turn, one after the other; whoever asks for one more is told to come again."""
WAIT_S = 15.0
"""How long somebody waits for a view before being told to come again; it is made all the same."""
MAX_KNOWN = 32
"""Indices kept in memory, each of thousands of fragments; the oldest goes, and is read again."""
MAX_REMEMBERED = 1024
"""Files of which nothing can be shown that are remembered; the oldest is tried again."""
MAX_FRAGMENT_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

log = logging.getLogger(__name__)


class Shot(msgspec.Struct, frozen=True, array_like=True):
    """A fragment of a view.

    Attributes:
        seq: Its number.
        offset: Where it begins in the view.
        bytes: Its length.
        at_ms: From the beginning of the file.
        duration_ms: Of its picture, or of its sound where there is no picture.
        sha256: Of init part and fragment together.
    """

    seq: int
    offset: int
    bytes: int
    at_ms: int
    duration_ms: int
    sha256: str


class View(msgspec.Struct, frozen=True):
    """What is in a view.

    Attributes:
        init_bytes: Length of its init part, with which it begins.
        shots: Its fragments, in order.
    """

    init_bytes: int
    shots: list[Shot]


class Views:
    """See the module.

    Args:
        store: Has the originals.
        folder: Where views are; made at the first use.
        max_bytes: See `MAX_BYTES`.
        wait_s: See `WAIT_S`.
    """

    def __init__(self, store: ObjectStore, folder: Path, *, max_bytes: int = MAX_BYTES, wait_s: float = WAIT_S) -> None:
        self._store, self._folder, self._max_bytes, self._wait_s = store, folder, max_bytes, wait_s
        self._making: dict[str, asyncio.Task[View]] = {}
        self._turn = asyncio.Semaphore(1)
        self._known: OrderedDict[str, View] = OrderedDict()
        self._unplayable: OrderedDict[str, str] = OrderedDict()

    async def of(self, row: UploadRow) -> View:
        """Return what the view of a file is made of, making it first where that is needed.

        Raises:
            InvalidMedia: Nothing of it can be shown.
            IntegrityError: The store has not what was delivered.
            Unavailable: It is being made, or cannot be made now; ask again.
        """
        if (why := self._unplayable.get(row.sha256)) is not None:
            raise InvalidMedia(why)
        if row.media not in PLAYABLE:
            raise InvalidMedia(f"{row.key}: not a container that can be shown")
        path = self._path(row)
        known = self._known.get(row.sha256) if path.exists() else None
        known = known or await asyncio.to_thread(_load, path)
        if known is None:
            return await self._made(row)
        _remember(self._known, row.sha256, known, MAX_KNOWN)
        return known

    async def shot(self, row: UploadRow, shot: Shot) -> bytes:
        """Return init part and fragment.

        Raises:
            Unavailable: The view is gone, or is not what it was; it is made again.
        """
        view = await self.of(row)
        data = await asyncio.to_thread(_read, self._path(row), view.init_bytes, shot)
        if hashlib.sha256(data).hexdigest() != shot.sha256:
            self._known.pop(row.sha256, None)
            await asyncio.to_thread(_remove, self._path(row))
            raise Unavailable(f"{row.key}: its view is not what it was, and is made again")
        return data

    async def run(self) -> None:
        """Remove what nobody looks at any more, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._sweep)
            except OSError as error:
                log.warning("views: %s", error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def close(self) -> None:
        """End what is being made."""
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _made(self, row: UploadRow) -> View:
        task = self._making.get(row.sha256)
        if task is None:
            if len(self._making) >= MAX_MAKING:
                raise Unavailable("as many recordings are being prepared as can be at once")
            task = self._making[row.sha256] = asyncio.create_task(self._make(row))
            task.add_done_callback(lambda done: self._done(row, done))
        try:
            return await asyncio.wait_for(asyncio.shield(task), self._wait_s)
        except TimeoutError:
            raise Unavailable(f"{row.key} is being prepared for watching") from None

    def _done(self, row: UploadRow, task: asyncio.Task[View]) -> None:
        self._making.pop(row.sha256, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            _remember(self._known, row.sha256, task.result(), MAX_KNOWN)
        elif isinstance(error, InvalidMedia):
            log.warning("%s cannot be shown: %s", row.key, error)
            _remember(self._unplayable, row.sha256, str(error), MAX_REMEMBERED)

    async def _make(self, row: UploadRow) -> View:
        async with self._turn:
            path = self._path(row)
            known = await asyncio.to_thread(_load, path)
            if known is not None:
                return known
            await asyncio.to_thread(self._make_room, row.bytes)
            life = uuid.uuid4().hex
            part, draft = path.with_suffix(f".{life}.part"), path.with_suffix(f".{life}.making")
            try:
                await self._fetch(row, part)
                await remux(part, draft, row.media)
                view = await asyncio.to_thread(_index, draft)
                await asyncio.to_thread(_keep, draft, path, view)
            except OSError as error:
                raise Unavailable(f"{row.key}: no view can be made: {error.strerror or error}") from error
            finally:
                for left in (part, draft):
                    left.unlink(missing_ok=True)
        return view

    async def _fetch(self, row: UploadRow, part: Path) -> None:
        digest = hashlib.sha256()
        with part.open("wb") as out:

            def take(piece: bytes | memoryview) -> None:
                digest.update(piece)
                out.write(piece)

            await self._store.feed(row.key, row.version_id, take)
        if digest.hexdigest() != row.sha256:
            raise IntegrityError(f"{row.key} is not what was delivered, and is not shown")

    def _make_room(self, more_bytes: int) -> None:
        """Let go of what was unused for longest.

        Raises:
            Unavailable: There is no room for it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = [(about.st_mtime, about.st_size, path) for path, about in self._files() if path.suffix == ".view"]
        total = sum(size for _, size, _ in kept) + more_bytes
        for _, size, path in sorted(kept):
            # While it is made, the original lies beside it.
            if total <= self._max_bytes and shutil.disk_usage(self._folder).free - 2 * more_bytes >= FREE_BYTES:
                break
            _remove(path)
            total -= size
        if shutil.disk_usage(self._folder).free - 2 * more_bytes < FREE_BYTES:
            raise Unavailable("the disk has no room to prepare this recording")

    def _sweep(self) -> None:
        """Remove views that were not used for `UNUSED_S`, and what a former life left half made."""
        now_s = time.time()
        for path, about in self._files():
            if path.suffix == ".view" and about.st_mtime < now_s - UNUSED_S:
                _remove(path)
            elif path.suffix in {".part", ".making", ".draft"} and about.st_mtime < now_s - 2 * WALL_S:
                path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self._folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # another console has the same folder
                found.append((path, path.stat()))
        return found

    def _path(self, row: UploadRow) -> Path:
        return self._folder / f"{row.sha256}.view"


def _remember(table: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    table[name] = value
    table.move_to_end(name)
    if len(table) > most:
        table.popitem(last=False)


def _remove(view: Path) -> None:
    view.with_suffix(".json").unlink(missing_ok=True)
    view.unlink(missing_ok=True)


def _load(path: Path) -> View | None:
    """Return what is known of a view that is there, and note that it is used."""
    try:
        os.utime(path)
        view = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=View)
    except (OSError, msgspec.DecodeError):
        return None
    return view


def _keep(draft: Path, path: Path, view: View) -> None:
    about = draft.with_suffix(".draft")
    about.write_bytes(msgspec.json.encode(view))
    draft.rename(path)
    about.rename(path.with_suffix(".json"))


def _read(path: Path, init_bytes: int, shot: Shot) -> bytes:
    try:
        os.utime(path)
        with path.open("rb") as file:
            init = file.read(init_bytes)
            file.seek(shot.offset)
            return init + file.read(shot.bytes)
    except OSError:
        return b""


def _index(path: Path) -> View:
    """Read a view once, fragment by fragment.

    Raises:
        InvalidMedia: There is no fragment in it, or one that cannot be read.
    """
    shots: list[Shot] = []
    init = b""
    with path.open("rb") as file:
        for kinds, offset, data in _fragments(file):
            if kinds == "init":
                init = data
                continue
            media = take_apart(init + data)
            at_s = media.seconds(media.main, media.main.decode_time)
            length_s = media.seconds(media.main, media.main.duration)
            sha256 = hashlib.sha256(init + data).hexdigest()
            shots.append(Shot(len(shots), offset, len(data), round(1000 * at_s), round(1000 * length_s), sha256))
    if not shots:
        raise InvalidMedia("there is no picture and no sound in it")
    return View(len(init), shots)


def _fragments(file: BinaryIO) -> Iterator[tuple[str, int, bytes]]:
    """Yield the init part, then each `moof` with its `mdat` (ISO/IEC 14496-12), with the place where it begins."""
    place, held, begins_media = 0, b"", False
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if not 8 <= size <= MAX_FRAGMENT_BYTES:
            raise InvalidMedia(f"a box {kind!r} of {size} bytes in the view")
        box = head + file.read(size - 8)
        if kind == b"moof" and not begins_media:
            yield "init", 0, held
            place, held, begins_media = len(held), b"", True
        held += box
        if kind == b"mdat" and begins_media:
            yield "media", place, held
            place, held = place + len(held), b""
