"""The body of one PATCH onto the disk: in pieces, safe every so often, checked where the sender gave a checksum."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from starlette.requests import ClientDisconnect, Request

from streams.ingest.api.problems import Problem
from streams.uploads.shelf import Shelf, Writer
from streams.uploads.upload import Upload

PIECE_BYTES: Final = 1 << 20
"""Written at once; what one PATCH holds in memory, together with what the server has read ahead."""
SYNC_EVERY_BYTES: Final = 16 << 20
SILENT_S: Final = 30.0
"""A sender that says nothing for so long is gone, whatever its connection says."""
MAX_HASHES: Final = 256
"""Files whose hash goes on where it was; of others, the one unused for longest is read once more at its end."""
ALGORITHMS: Final = ("sha256", "sha1")


class Checksum(NamedTuple):
    """What `Upload-Checksum` says."""

    algorithm: str
    digest: bytes


def checksum_of(request: Request) -> Checksum | None:
    """Read `Upload-Checksum` (tus 1.0, Checksum).

    Raises:
        Problem: 400, an algorithm that we do not have, or no base64.
    """
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, value = header.strip().partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if algorithm not in ALGORITHMS or not digest:
        raise Problem(400, f"Upload-Checksum: one of {', '.join(ALGORITHMS)}, and base64", field="Upload-Checksum")
    return Checksum(algorithm, digest)


class Receiver:
    """Takes bodies in, and remembers the hash of what is here so far."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def digest(self, upload: Upload) -> str:
        """Return the SHA-256 of a file whose bytes all went through here; empty where they must be read again."""
        at, whole = self._hashes.pop(upload.id, (-1, None))
        return whole.hexdigest() if at == upload.length_bytes and whole is not None else ""

    def forget(self, upload_id: str) -> None:
        """Drop what is remembered."""
        self._hashes.pop(upload_id, None)

    async def receive(self, request: Request, upload: Upload, checksum: Checksum | None) -> int:
        """Append the body; with a checksum all or nothing, otherwise whatever came before a cut.

        Returns:
            The offset, safe.

        Raises:
            Problem: 413, more than was announced; 460, another checksum; 408, it stopped in the middle.
            ClientDisconnect: Cut; what came is kept.
            OSError: No room, or the disk.
        """
        writer = await asyncio.to_thread(self._shelf.writer, upload.id)
        at, whole = self._hashes.pop(upload.id, (-1, None))
        if at != writer.at:
            whole = hashlib.sha256() if writer.at == 0 else None
        try:
            whole = await self._body(request, upload, writer, whole, checksum)
        finally:
            # What a cut left in memory alone is written; its hash is forgotten, and the file read once more at its end.
            await asyncio.shield(asyncio.to_thread(_close, writer, checksum is not None))
        if whole is not None:
            self._hashes[upload.id] = (writer.at, whole)
            if len(self._hashes) > MAX_HASHES:
                self._hashes.popitem(last=False)
        return writer.at

    async def _body(
        self, request: Request, upload: Upload, writer: Writer, whole: Any, checksum: Checksum | None
    ) -> Any:
        before = whole.copy() if whole is not None and checksum is not None else None
        own = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum is not None else None
        hashes = [one for one in (whole, own) if one is not None]
        piece = _Piece()
        stream = request.stream().__aiter__()
        try:
            while data := await _next(stream):
                if writer.at + piece.length + len(data) > upload.length_bytes:
                    raise Problem(413, f"more than the {upload.length_bytes} bytes that were announced")
                rest: bytes | memoryview = data
                while rest := piece.fill(rest):
                    await asyncio.to_thread(_append, writer, piece.take(), hashes, checksum is None)
        except (ClientDisconnect, Problem):
            if checksum is None:
                await asyncio.to_thread(_append, writer, piece.take(), hashes, True)
            raise
        await asyncio.to_thread(_append, writer, piece.take(), hashes, False)
        if own is not None and checksum is not None and own.digest() != checksum.digest:
            self._restore(upload.id, before, writer)
            raise Problem(460, f"Upload-Checksum: {checksum.algorithm} of what came is another")
        await asyncio.to_thread(writer.sync)
        return whole

    def _restore(self, upload_id: str, before: Any, writer: Writer) -> None:
        writer.discard()
        if before is not None:
            self._hashes[upload_id] = (writer.at, before)


class _Piece:
    """What waits to be written, always in the same memory: fresh pages for each would cost more than the hash."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(PIECE_BYTES))
        self.length = 0

    def fill(self, data: bytes | memoryview) -> bytes | memoryview:
        """Take in as much as there is room for; returns the rest, empty where all of it is in."""
        room = PIECE_BYTES - self.length
        part = data if len(data) <= room else memoryview(data)[:room]
        self._memory[self.length : self.length + len(part)] = part
        self.length += len(part)
        return memoryview(data)[room:] if len(data) > room else b""

    def take(self) -> memoryview:
        """Return what is in, good until more is filled in."""
        taken, self.length = self._memory[: self.length], 0
        return taken


def _append(writer: Writer, data: memoryview, hashes: list[Any], may_sync: bool) -> None:
    writer.write(data, hashes)
    if may_sync and writer.unsafe_bytes >= SYNC_EVERY_BYTES:
        writer.sync()


def _close(writer: Writer, all_or_nothing: bool) -> None:
    try:
        if all_or_nothing:
            writer.discard()
        else:
            writer.sync()
    finally:
        writer.close()


async def _next(stream: Any) -> bytes:
    """Return the next piece that is not empty; empty at the end."""
    try:
        async with asyncio.timeout(SILENT_S):
            while True:
                data: bytes | None = await anext(stream, None)
                if data is None or data:
                    return data or b""
    except TimeoutError:
        msg = f"nothing came for {SILENT_S:g} s"
        raise Problem(408, msg) from None
