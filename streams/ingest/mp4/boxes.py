"""Boxes of the ISO base media file format (ISO/IEC 14496-12): written, and walked at the top level."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from domain.errors import InvalidMedia

_HEADER: Final = struct.Struct(">I4s")
_LARGE: Final = struct.Struct(">Q")
_HEADER_BYTES: Final = 8


class Box(NamedTuple):
    """A top-level box: its four characters, and where it stands, header included."""

    kind: bytes
    start: int
    end: int


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of these contents, one behind the other."""
    body = b"".join(parts)
    return _HEADER.pack(_HEADER_BYTES + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Return a box with version (8 bits) and flags (24 bits) before its contents."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def header(kind: bytes, body_bytes: int) -> bytes:
    """Return the header alone of a box with so many bytes of contents."""
    return _HEADER.pack(_HEADER_BYTES + body_bytes, kind)


def top_level(data: bytes) -> Iterator[Box]:
    """Walk the boxes of a file.

    Raises:
        InvalidMedia: A box that reaches beyond the data, or is smaller than its own header.
    """
    at = 0
    while at < len(data):
        if at + _HEADER_BYTES > len(data):
            msg = f"box header cut off at byte {at}"
            raise InvalidMedia(msg, "mp4")
        size, kind = _HEADER.unpack_from(data, at)
        smallest = _HEADER_BYTES
        if size == 1 and at + 16 <= len(data):
            (size,) = _LARGE.unpack_from(data, at + _HEADER_BYTES)
            smallest = 16
        if size < smallest or at + size > len(data):
            msg = f"box {kind!r} of {size} bytes at byte {at} of {len(data)}"
            raise InvalidMedia(msg, "mp4")
        yield Box(kind, at, at + size)
        at += size
