"""The bytes of the embedded log: how a part file begins and how a record stands in it. Pure.

The layout is in `docs/design/log.md`. All numbers are little-endian; checksums are CRC-32C (RFC 3720, appendix B.4).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

import google_crc32c

from domain.bus import Record
from domain.clock import Instant

MAGIC = b"LIUHENLG"
VERSION = 1
HEADER_BYTES = 128
MARK_AT = 64
LENGTH_BYTES = 4
COMPACTED = 1

_HEADER = struct.Struct("<8sHHIQq")  # magic, version, flags, reserved, base offset, created (ms)
_MARK = struct.Struct("<QQq")  # position, next offset, newest timestamp (ms)
_CRC = struct.Struct("<I")
_LENGTH_CRC = struct.Struct("<II")
_FIXED = struct.Struct("<QqBBH")  # offset, timestamp (ms), flags, number of headers, key bytes
_HEADER_SIZES = struct.Struct("<HI")  # bytes of a header's name and value

FRAME_MIN_BYTES = _LENGTH_CRC.size + _FIXED.size
_HAS_KEY = 1
_HAS_VALUE = 2
_NO_HEADERS: Mapping[str, bytes] = {}
_crc32c = google_crc32c.extend


class Mark(NamedTuple):
    """How far a part is known to be on the disk.

    Attributes:
        position: Bytes of the file that were synced; a record ends here.
        next_offset: Offset of the record that comes next.
        newest: Timestamp of the last record, 0 where there is none.
    """

    position: int
    next_offset: int
    newest: Instant


class PartHeader(NamedTuple):
    """What a part says of itself. `mark` is None where its checksum fails."""

    base_offset: int
    compacted: bool
    created: Instant
    mark: Mark | None


class BadFrame(ValueError):
    """Bytes that are not a record."""


def encode_header(base_offset: int, created: Instant, mark: Mark, *, compacted: bool = False) -> bytes:
    """Return the first `HEADER_BYTES` of a part."""
    fixed = _HEADER.pack(MAGIC, VERSION, COMPACTED if compacted else 0, 0, base_offset, created)
    head = (fixed + _CRC.pack(_crc32c(0, fixed))).ljust(MARK_AT, b"\0")
    return (head + encode_mark(mark)).ljust(HEADER_BYTES, b"\0")


def encode_mark(mark: Mark) -> bytes:
    """Return the bytes that stand at `MARK_AT`; small enough to lie in one disk sector."""
    fixed = _MARK.pack(*mark)
    return fixed + _CRC.pack(_crc32c(0, fixed))


def decode_header(data: bytes) -> PartHeader:
    """Read the first `HEADER_BYTES` of a part.

    Raises:
        BadFrame: Not the beginning of a part of this version.
    """
    fixed, crc = data[: _HEADER.size], data[_HEADER.size : _HEADER.size + 4]
    if len(data) < HEADER_BYTES or not fixed.startswith(MAGIC) or crc != _CRC.pack(_crc32c(0, fixed)):
        raise BadFrame("no header of a part")
    _, version, flags, _, base_offset, created = _HEADER.unpack(fixed)
    if version != VERSION:
        raise BadFrame(f"version {version} of the part's form is not known here")
    return PartHeader(base_offset, bool(flags & COMPACTED), Instant(created), _decode_mark(data[MARK_AT:]))


def _decode_mark(data: bytes) -> Mark | None:
    fixed, crc = data[: _MARK.size], data[_MARK.size : _MARK.size + 4]
    if crc != _CRC.pack(_crc32c(0, fixed)):
        return None
    position, next_offset, newest = _MARK.unpack(fixed)
    return Mark(position, next_offset, Instant(newest))


def pack_headers(headers: Mapping[str, bytes]) -> bytes:
    """Return the headers of a record as they stand behind its key."""
    parts: list[bytes] = []
    for name, value in headers.items():
        encoded = name.encode()
        parts += (_HEADER_SIZES.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


class Entry(NamedTuple):
    """A record on its way to the disk; it has no offset yet.

    Attributes:
        timestamp: When the log took it.
        key: UTF-8 bytes of the key.
        value: Payload; None is a tombstone.
        headers: As `pack_headers` made them.
        header_count: How many they are.
    """

    timestamp: Instant
    key: bytes | None
    value: bytes | None
    headers: bytes
    header_count: int


def entry_of(record: Record) -> Entry:
    """Return what a record was made from."""
    key = None if record.key is None else record.key.encode()
    return Entry(record.timestamp, key, record.value, pack_headers(record.headers), len(record.headers))


def encode_prefix(offset: int, entry: Entry) -> bytes:
    """Return all of a record's frame before its value; the value follows as it is."""
    timestamp, key, value, headers, header_count = entry
    flags = (_HAS_KEY if key is not None else 0) | (_HAS_VALUE if value is not None else 0)
    body = _FIXED.pack(offset, timestamp, flags, header_count, len(key or b"")) + (key or b"") + headers
    crc = _crc32c(0, body)
    if value:
        crc = _crc32c(crc, value)
    return _LENGTH_CRC.pack(len(body) + len(value or b""), crc) + body


def frame_bytes(buffer: bytes | bytearray | memoryview, at: int) -> int:
    """Return the size of the frame that begins at `at`, from its first four bytes."""
    length: int = _CRC.unpack_from(buffer, at)[0]
    return _LENGTH_CRC.size + length


def frame_offset(buffer: bytes | bytearray | memoryview, at: int) -> int:
    """Return the offset that the frame at `at` claims, unchecked."""
    offset: int = _FIXED.unpack_from(buffer, at + _LENGTH_CRC.size)[0]
    return offset


def decode(view: memoryview, at: int, end: int, topic: str, partition: int) -> Record:
    """Read the whole frame that stands in `view[at:end]`.

    Raises:
        BadFrame: Its checksum fails, or its inner lengths contradict one another.
    """
    value_at = value_begin(view, at, end)
    return decode_parts(bytes(view[at:value_at]), bytes(view[value_at:end]), topic, partition)


def value_begin(view: memoryview, at: int, end: int) -> int:
    """Return where the value begins of the frame that begins at `at`; beyond `len(view)` where its head is longer.

    Raises:
        BadFrame: It would begin behind the frame's end.
    """
    if end - at < FRAME_MIN_BYTES:
        raise BadFrame("shorter than any record")
    _, _, _, header_count, key_bytes = _FIXED.unpack_from(view, at + _LENGTH_CRC.size)
    at += FRAME_MIN_BYTES + key_bytes
    for _ in range(header_count):
        if at + _HEADER_SIZES.size > len(view):
            return len(view) + 1
        name_bytes, value_bytes = _HEADER_SIZES.unpack_from(view, at)
        at += _HEADER_SIZES.size + name_bytes + value_bytes
    if at > end:
        raise BadFrame("its head is longer than itself")
    return at


def decode_parts(head: bytes, value: bytes, topic: str, partition: int) -> Record:
    """Read a frame whose value stands apart.

    Raises:
        BadFrame: Its checksum fails.
    """
    if _crc32c(_crc32c(0, head[_LENGTH_CRC.size :]), value) != _CRC.unpack_from(head, LENGTH_BYTES)[0]:
        raise BadFrame("checksum mismatch")
    offset, timestamp, flags, header_count, key_bytes = _FIXED.unpack_from(head, _LENGTH_CRC.size)
    key_end = FRAME_MIN_BYTES + key_bytes
    try:
        key = head[FRAME_MIN_BYTES:key_end].decode() if flags & _HAS_KEY else None
        headers = _headers(head, key_end, header_count) if header_count else _NO_HEADERS
    except UnicodeDecodeError as error:
        raise BadFrame("a name that is not UTF-8") from error
    kept = value if flags & _HAS_VALUE else None
    return Record(topic, partition, offset, key, kept, headers, Instant(timestamp))


def _headers(head: bytes, at: int, header_count: int) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for _ in range(header_count):
        name_bytes, value_bytes = _HEADER_SIZES.unpack_from(head, at)
        name_at = at + _HEADER_SIZES.size
        at = name_at + name_bytes + value_bytes
        found[head[name_at : name_at + name_bytes].decode()] = head[name_at + name_bytes : at]
    return found
