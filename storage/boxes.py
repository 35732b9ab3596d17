"""ISO BMFF boxes (ISO/IEC 14496-12 §4.2), as far as segments need them: where they begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from domain.errors import InvalidMedia

_HEADER_BYTES = 8
_LARGE_HEADER_BYTES = 16
_BEFORE_MEDIA = frozenset({b"ftyp", b"moov", b"free"})


class Box(NamedTuple):
    """Where a box stands: bytes `start` to `end` of what was scanned."""

    kind: bytes
    start: int
    end: int


def scan(data: memoryview) -> Iterator[Box]:
    """Walk over the boxes of the top level.

    Raises:
        InvalidMedia: A box reaches beyond the end, or is shorter than its header.
    """
    at = 0
    while at < len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), _HEADER_BYTES
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), _LARGE_HEADER_BYTES
        if size < header or at + size > len(data):
            msg = f"box at byte {at}: {size} bytes long, {len(data) - at} are left"
            raise InvalidMedia(msg)
        yield Box(bytes(data[at + 4 : at + 8]), at, at + size)
        at += size


def split_fragment(data: memoryview) -> int:
    """Return where the init part (ftyp, moov) of a self-contained fragment ends and its moof + mdat begin.

    Raises:
        InvalidMedia: It is not ftyp, moov and at least one moof + mdat.
    """
    boxes = list(scan(data))
    split = next((box.start for box in boxes if box.kind not in _BEFORE_MEDIA), None)
    before = {box.kind for box in boxes if split is not None and box.start < split}
    after = [box.kind for box in boxes if split is not None and box.start >= split]
    if split is None or not {b"ftyp", b"moov"} <= before or not {b"moof", b"mdat"} <= set(after) or b"moov" in after:
        kinds = ", ".join(box.kind.decode("latin-1") for box in boxes[:8])
        msg = f"not a self-contained fragment: {kinds or 'no boxes'}"
        raise InvalidMedia(msg)
    return split
