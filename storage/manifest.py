"""The manifest at the end of each segment: what it is made of, so that each fragment can be proven from the object.

A segment is the init part of its first fragment, then each fragment's moof + mdat exactly as they came, then one
`uuid` box (ISO/IEC 14496-12 §11.1) of ours, which players skip::

    4 bytes   size of the box, big-endian
    4 bytes   "uuid"
    16 bytes  a2f6c9d4-7e31-5b08-9c46-6c6975686e31
    …         the manifest, JSON in UTF-8
    4 bytes   size of the box once more, so that a reader finds its start from the object's end (as in `mfro`)

What may change between two tries (policy, time of storing) is not in it: the object is a function of its footage.

SHA-256 over the init part and bytes `offset` to `offset + bytes` is the fragment's `sha256`, as on the log. The
catalogue can be made again from the objects alone.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import BinaryIO

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError
from domain.wire import convert, encode

USER_TYPE = uuid.UUID("a2f6c9d4-7e31-5b08-9c46-6c6975686e31").bytes
_FRAME_BYTES = 4 + 4 + 16 + 4
MAX_MANIFEST_BYTES = 4_000_000
_CHUNK_BYTES = 1 << 20


class FragmentEntry(msgspec.Struct, frozen=True):
    """One fragment in a segment.

    Attributes:
        seq: Its number in the feed.
        captured_at: Capture time of its first access unit.
        duration_s: To the end of its last, seconds.
        offset: Where its moof begins in the object.
        bytes: Of moof + mdat.
        sha256: Of init + moof + mdat: the fragment as it stood on the log.
    """

    seq: int
    captured_at: Instant
    duration_s: float
    offset: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment is made of.

    Attributes:
        recorder_id: Whose footage.
        session_id: Of which session.
        feed_id: Over which connection it came.
        codec: Codecs of its tracks, picture first.
        init_bytes: Length of ftyp + moov at the beginning.
        fragments: In order; `seq` without holes.
        v: Version of this form.
    """

    recorder_id: str
    session_id: str
    feed_id: str
    codec: str
    init_bytes: int
    fragments: list[FragmentEntry]
    v: int = 1


def box(manifest: Manifest) -> bytes:
    """Return the manifest's box; equal manifests give equal bytes."""
    text = encode(manifest)
    size = (_FRAME_BYTES + len(text)).to_bytes(4, "big")
    return b"".join((size, b"uuid", USER_TYPE, text, size))


def read(segment: BinaryIO) -> Manifest:
    """Read the manifest from the end of a segment.

    Raises:
        IntegrityError: There is none, or it cannot be read.
    """
    end = segment.seek(0, os.SEEK_END)
    size = int.from_bytes(_at(segment, max(0, end - 4), 4), "big")
    if not _FRAME_BYTES < size <= min(end, MAX_MANIFEST_BYTES):
        msg = "no manifest at the end"
        raise IntegrityError(msg)
    data = _at(segment, end - size, size)
    if int.from_bytes(data[:4], "big") != size or data[4:24] != b"uuid" + USER_TYPE:
        msg = "no manifest at the end"
        raise IntegrityError(msg)
    try:
        return convert(msgspec.json.decode(data[24:-4]), Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        msg = f"its manifest cannot be read: {error}"
        raise IntegrityError(msg) from error


def check(segment: BinaryIO) -> Manifest:
    """Read the manifest and compute every fragment's hash again from the segment's bytes.

    Raises:
        IntegrityError: Names the first fragment that is not what it was, or bytes that belong to none.
    """
    manifest = read(segment)
    init = _at(segment, 0, manifest.init_bytes)
    expected = manifest.init_bytes
    for entry in manifest.fragments:
        if entry.offset != expected:
            msg = f"fragment {entry.seq}: begins at byte {entry.offset}, the one before ends at {expected}"
            raise IntegrityError(msg)
        if _digest(segment, init, entry) != entry.sha256:
            msg = f"fragment {entry.seq}: its bytes are not those of its hash"
            raise IntegrityError(msg)
        expected += entry.bytes
    if segment.seek(0, os.SEEK_END) != expected + len(box(manifest)):
        msg = "bytes between the last fragment and the manifest"
        raise IntegrityError(msg)
    return manifest


def _digest(segment: BinaryIO, init: bytes, entry: FragmentEntry) -> str:
    digest = hashlib.sha256(init)
    segment.seek(entry.offset)
    left = entry.bytes
    while left > 0 and (piece := segment.read(min(left, _CHUNK_BYTES))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _at(segment: BinaryIO, start: int, length: int) -> bytes:
    segment.seek(start)
    return segment.read(length)
