"""A fragment without the tracks that browsers refuse. Pure.

Chromium rejects a whole init segment for one sample entry it does not know; with G.711 sound the picture would not
play either. So the copy for watching leaves such tracks out. The stored recording keeps them.
"""

from __future__ import annotations

import struct

from dashboards.hls.mp4 import Box, Media, Run, boxes, sample_entry, take_apart, track_number
from domain.errors import InvalidMedia

REFUSED = frozenset({b"alaw", b"ulaw", b"sowt", b"twos"})
"""Sample entries of sound that no browser's media source takes: G.711 and plain PCM as QuickTime names them."""

_DEFAULT_BASE_IS_MOOF = 0x020000
_DATA_OFFSET = 0x000001


def playable(data: bytes) -> Media:
    """Take a self-contained fragment apart and leave out what browsers refuse.

    Raises:
        InvalidMedia: It is none, nothing is left, or its data cannot be found once a part is gone.
    """
    media = take_apart(data)
    try:
        return _without_refused(media)
    except struct.error as error:
        raise InvalidMedia(f"mp4: a box is too short: {error}") from error


def _without_refused(media: Media) -> Media:
    refused = {number for number, entry in _entries(media.init).items() if entry in REFUSED}
    if not refused:
        return media
    kept = {number: track for number, track in media.tracks.items() if number not in refused}
    if not kept:
        raise InvalidMedia("mp4: only tracks that no browser plays")
    runs = [run for run in media.runs if run.track in kept]
    if not runs:
        raise InvalidMedia("mp4: a fragment with nothing to play")
    fragment, moved = _fragment(media.fragment, refused)
    return Media(_init(media.init, refused), fragment, kept, [_moved(run, moved[run.track]) for run in runs])


def _entries(init: bytes) -> dict[int, bytes]:
    return {
        track_number(init, trak): sample_entry(init, trak)
        for moov in boxes(init)
        if moov.kind == b"moov"
        for trak in boxes(init, moov.body, moov.end)
        if trak.kind == b"trak"
    }


def _init(init: bytes, refused: set[int]) -> bytes:
    parts = []
    for top in boxes(init):
        if top.kind != b"moov":
            parts.append(init[top.start : top.end])
            continue
        parts.append(_box(b"moov", [_kept(init, box, refused) for box in boxes(init, top.body, top.end)]))
    return b"".join(parts)


def _kept(init: bytes, box: Box, refused: set[int]) -> bytes:
    if box.kind == b"trak" and track_number(init, box) in refused:
        return b""
    if box.kind != b"mvex":
        return init[box.start : box.end]
    children = [
        init[one.start : one.end]
        for one in boxes(init, box.body, box.end)
        if one.kind != b"trex" or struct.unpack_from(">I", init, one.body + 4)[0] not in refused
    ]
    return _box(b"mvex", children)


def _fragment(data: bytes, refused: set[int]) -> tuple[bytes, dict[int, int]]:
    """Return the fragment without some tracks, and by how many bytes each other track's `traf` has moved."""
    moof = next(boxes(data))
    children = list(boxes(data, moof.body, moof.end))
    gone = [box for box in children if box.kind == b"traf" and _owner(data, box) in refused]
    shrunk = sum(box.end - box.start for box in gone)
    moved: dict[int, int] = {}
    parts: list[bytes] = []
    for box in children:
        if box in gone:
            continue
        part = bytearray(data[box.start : box.end])
        if box.kind == b"traf":
            moved[_owner(data, box)] = sum(one.end - one.start for one in gone if one.start < box.start)
            _shift_data(part, shrunk)
        parts.append(bytes(part))
    # The media data stays as it is, with the bytes of the tracks that are gone: nothing points at them.
    return _box(b"moof", parts) + data[moof.end :], moved


def _shift_data(traf: bytearray, shrunk: int) -> None:
    """Let the runs find their data: it is counted from the start of `moof`, which has become shorter."""
    for box in boxes(bytes(traf), 8):
        flags = struct.unpack_from(">I", traf, box.body)[0] & 0xFFFFFF
        if box.kind == b"tfhd" and not flags & _DEFAULT_BASE_IS_MOOF:
            raise InvalidMedia("mp4: data offsets are not counted from the moof")
        if box.kind == b"trun" and flags & _DATA_OFFSET:
            offset = struct.unpack_from(">i", traf, box.body + 8)[0]
            struct.pack_into(">i", traf, box.body + 8, offset - shrunk)


def _owner(data: bytes, traf: Box) -> int:
    tfhd = next((box for box in boxes(data, traf.body, traf.end) if box.kind == b"tfhd"), None)
    if tfhd is None:
        raise InvalidMedia("mp4: a traf without tfhd")
    return int(struct.unpack_from(">I", data, tfhd.body + 4)[0])


def _moved(run: Run, by: int) -> Run:
    return Run(run.track, run.decode_time, run.duration, run.at - by, run.wide)


def _box(kind: bytes, parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body
