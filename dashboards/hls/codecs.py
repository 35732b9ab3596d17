"""What is in an init segment, in the words of RFC 6381, which a browser wants to know before it plays it. Pure."""

from __future__ import annotations

import struct

from dashboards.hls.mp4 import Box, boxes
from domain.errors import InvalidMedia

_PICTURE_HEAD = 78
_PLAIN = {b"Opus": "opus", b"fLaC": "flac", b"ac-3": "ac-3", b"vp09": "vp09.00.10.08", b"av01": "av01.0.04M.08"}


def media_type(init: bytes) -> str:
    """Return the media type with its `codecs` parameter: `video/mp4; codecs="avc1.42C01F, mp4a.40.2"`.

    Raises:
        InvalidMedia: It is no init segment.
    """
    try:
        names = [name for entry in _entries(init) if (name := _name(init, entry))]
    except (struct.error, IndexError) as error:
        raise InvalidMedia(f"mp4: a box is too short: {error}") from error
    return f'video/mp4; codecs="{", ".join(names)}"' if names else "video/mp4"


def _entries(init: bytes) -> list[Box]:
    places = [Box(b"", 0, 0, len(init))]
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        places = [box for place in places for box in boxes(init, place.body, place.end) if box.kind == kind]
    return [box for stsd in places for box in boxes(init, stsd.body + 8, stsd.end)]


def _name(init: bytes, entry: Box) -> str:
    if entry.kind in {b"avc1", b"avc3"}:
        found = _child(init, entry, _PICTURE_HEAD, b"avcC")
        return f"{entry.kind.decode()}.{init[found.body + 1 : found.body + 4].hex().upper()}" if found else ""
    if entry.kind in {b"hvc1", b"hev1"}:
        found = _child(init, entry, _PICTURE_HEAD, b"hvcC")
        return _hevc(entry.kind.decode(), init[found.body : found.end]) if found else ""
    if entry.kind == b"mp4a":
        return "mp4a.40.2"
    return _PLAIN.get(entry.kind, "")


def _hevc(kind: str, record: bytes) -> str:
    """ISO/IEC 14496-15 Annex E: profile, compatibility bits turned round, tier and level, constraints."""
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatible = int(f"{struct.unpack_from('>I', record, 2)[0]:032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\0").hex(".").upper()
    name = f"{kind}.{space}{record[1] & 0x1F}.{compatible:X}.{tier}{record[12]}"
    return f"{name}.{constraints}" if constraints else name


def _child(init: bytes, entry: Box, head: int, kind: bytes) -> Box | None:
    return next((box for box in boxes(init, entry.body + head, entry.end) if box.kind == kind), None)
