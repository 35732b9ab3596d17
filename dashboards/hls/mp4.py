"""As much of ISO/IEC 14496-12 as it takes to place a fragment on a timeline for watching. Pure.

Only the copy that goes to a browser is touched, and in it only `tfdt` (8.8.12); samples are never looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from domain.errors import InvalidMedia

_DEFAULT_DURATION = 0x000008
_HEAD_FIELDS = ((0x000001, 8), (0x000002, 4))
_SAMPLE_FIELDS = (0x000100, 0x000200, 0x000400, 0x000800)


class Box(msgspec.Struct, frozen=True):
    """Where a box stands: `start` of its header, `body` behind it, `end`."""

    kind: bytes
    start: int
    body: int
    end: int


class Track(msgspec.Struct, frozen=True):
    """What the init segment says of a track.

    Attributes:
        number: `track_ID`.
        timescale: Ticks per second.
        handler: `vide`, `soun`, …
        default_duration: Of its samples, ticks, from `trex`.
    """

    number: int
    timescale: int
    handler: bytes
    default_duration: int = 0


class Run(msgspec.Struct, frozen=True):
    """One track's part of a movie fragment.

    Attributes:
        track: `track_ID`.
        decode_time: Of its first sample, ticks.
        duration: Of its samples, ticks.
        at: Where the decode time stands in the fragment.
        wide: It takes 8 bytes there, not 4.
    """

    track: int
    decode_time: int
    duration: int
    at: int
    wide: bool


class Media(msgspec.Struct, frozen=True):
    """A self-contained fragment taken apart.

    Attributes:
        init: `ftyp` and `moov`.
        fragment: `moof` and `mdat`, unchanged.
        tracks: Of the init segment, by number.
        runs: Of the fragment, in its order.
    """

    init: bytes
    fragment: bytes
    tracks: dict[int, Track]
    runs: list[Run]

    @property
    def main(self) -> Run:
        """The picture's run, or the first where there is no picture."""
        return next((run for run in self.runs if self.tracks[run.track].handler == b"vide"), self.runs[0])

    def seconds(self, run: Run, ticks: int) -> float:
        """Convert ticks of a run's track."""
        return ticks / self.tracks[run.track].timescale


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Walk the boxes that stand side by side between two places.

    Raises:
        InvalidMedia: A size that does not fit.
    """
    at, end = start, len(data) if end is None else end
    while at < end:
        if end - at < 8:
            raise InvalidMedia("mp4: half a box header")
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1 and end - at >= 16:
            size, body = struct.unpack_from(">Q", data, body)[0], body + 8
        elif size == 0:
            size = end - at
        if size < body - at or at + size > end:
            raise InvalidMedia(f"mp4: box {kind!r} of {size} bytes does not fit")
        yield Box(kind, at, body, at + size)
        at += size


def take_apart(data: bytes) -> Media:
    """Split a self-contained fragment (`ftyp`, `moov`, `moof`, `mdat`).

    Raises:
        InvalidMedia: It is none.
    """
    try:
        top = list(boxes(data))
        moof = next((box for box in top if box.kind == b"moof"), None)
        if moof is None:
            raise InvalidMedia("mp4: no moof")
        fragment = data[moof.start :]
        tracks = read_tracks(data[: moof.start])
        runs = read_runs(fragment, tracks)
    except struct.error as error:
        raise InvalidMedia(f"mp4: a box is too short: {error}") from error
    if not runs:
        raise InvalidMedia("mp4: a fragment of no track")
    return Media(data[: moof.start], fragment, tracks, runs)


def read_tracks(init: bytes) -> dict[int, Track]:
    """Return the tracks of an init segment.

    Raises:
        InvalidMedia: It has none, or one without a timescale.
    """
    tracks: dict[int, Track] = {}
    for moov in _children(init, b"moov"):
        defaults = {
            struct.unpack_from(">I", init, trex.body + 4)[0]: trex for trex in _find(init, moov, b"mvex", b"trex")
        }
        for trak in _find(init, moov, b"trak"):
            number = track_number(init, trak)
            timescale = _versioned(init, _only(init, trak, b"mdia", b"mdhd"), 12, 20)
            handler = _only(init, trak, b"mdia", b"hdlr").body + 8
            trex = defaults.get(number)
            duration = struct.unpack_from(">I", init, trex.body + 12)[0] if trex else 0
            if timescale == 0:
                raise InvalidMedia("mp4: a track without timescale")
            tracks[number] = Track(number, timescale, init[handler : handler + 4], duration)
    if not tracks:
        raise InvalidMedia("mp4: no track in the init segment")
    return tracks


def track_number(init: bytes, trak: Box) -> int:
    """Return a track's `track_ID`."""
    return _versioned(init, _only(init, trak, b"tkhd"), 12, 20)


def sample_entry(init: bytes, trak: Box) -> bytes:
    """Return the four-character code of a track's first sample entry, empty where it has none."""
    stsd = _only(init, trak, b"mdia", b"minf", b"stbl", b"stsd")
    return next((box.kind for box in boxes(init, stsd.body + 8, stsd.end)), b"")


def read_runs(fragment: bytes, tracks: dict[int, Track]) -> list[Run]:
    """Return the runs of a movie fragment.

    Raises:
        InvalidMedia: A track that the init segment does not have.
    """
    return [
        _run(fragment, traf, tracks) for moof in _children(fragment, b"moof") for traf in _find(fragment, moof, b"traf")
    ]


def retime(media: Media, shift_s: float) -> bytes:
    """Return a copy of the fragment whose decode times are later by so many seconds, on every track alike."""
    copy = bytearray(media.fragment)
    for run in media.runs:
        ticks = run.decode_time + round(shift_s * media.tracks[run.track].timescale)
        if run.wide:
            struct.pack_into(">Q", copy, run.at, max(0, ticks))
        else:
            struct.pack_into(">I", copy, run.at, max(0, ticks) & 0xFFFFFFFF)
    return bytes(copy)


def _run(data: bytes, traf: Box, tracks: dict[int, Track]) -> Run:
    tfhd, tfdt = _only(data, traf, b"tfhd"), _only(data, traf, b"tfdt")
    flags, number = struct.unpack_from(">II", data, tfhd.body)
    if number not in tracks:
        raise InvalidMedia(f"mp4: track {number} is not in the init segment")
    flags &= 0xFFFFFF
    default = tracks[number].default_duration
    if flags & _DEFAULT_DURATION:
        at = tfhd.body + 8 + sum(size for flag, size in _HEAD_FIELDS if flags & flag)
        default = struct.unpack_from(">I", data, at)[0]
    wide = data[tfdt.body] == 1
    decode_time = struct.unpack_from(">Q" if wide else ">I", data, tfdt.body + 4)[0]
    duration = sum(_duration(data, trun, default) for trun in _find(data, traf, b"trun"))
    return Run(number, decode_time, duration, tfdt.body + 4, wide)


def _duration(data: bytes, trun: Box, default: int) -> int:
    flags, count = struct.unpack_from(">II", data, trun.body)
    flags &= 0xFFFFFF
    if not flags & 0x000100:
        return int(count * default)
    stride = 4 * sum(1 for flag in _SAMPLE_FIELDS if flags & flag)
    at = trun.body + 8 + (4 if flags & 0x000001 else 0) + (4 if flags & 0x000004 else 0)
    if at + count * stride > trun.end:
        raise InvalidMedia("mp4: a run longer than its box")
    return sum(struct.unpack_from(">I", data, at + index * stride)[0] for index in range(count))


def _children(data: bytes, kind: bytes) -> Iterator[Box]:
    return (box for box in boxes(data) if box.kind == kind)


def _find(data: bytes, parent: Box, *path: bytes) -> list[Box]:
    found = [parent]
    for kind in path:
        found = [box for one in found for box in boxes(data, one.body, one.end) if box.kind == kind]
    return found


def _only(data: bytes, parent: Box, *path: bytes) -> Box:
    found = _find(data, parent, *path)
    if len(found) != 1:
        raise InvalidMedia(f"mp4: {len(found)} boxes {b'/'.join(path)!r} where there must be one")
    return found[0]


def _versioned(data: bytes, box: Box, narrow: int, wide: int) -> int:
    """Read 32 bits behind two times that are 4 or 8 bytes each, by the box's version."""
    offset = wide if data[box.body] == 1 else narrow
    return int(struct.unpack_from(">I", data, box.body + offset)[0])
