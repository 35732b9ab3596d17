"""The init segment: `ftyp` and `moov` with no samples (ISO/IEC 14496-12, 8.8)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from domain.errors import InvalidMedia
from domain.media import Codec, TrackParams
from streams.ingest.mp4.boxes import box, full_box
from streams.ingest.mp4.entries import sample_entry

_MOVIE_TIMESCALE: Final = 1000
_MATRIX: Final = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_UNDETERMINED: Final = 0x55C4  # ISO 639-2 "und" in three times five bits
_ISO = box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6mp41")
_QUICKTIME = box(b"ftyp", b"qt  ", struct.pack(">I", 0), b"qt  iso6")
_G711 = frozenset({Codec.PCMA, Codec.PCMU})


@lru_cache(maxsize=256)
def init_segment(tracks: tuple[TrackParams, ...]) -> bytes:
    """Return the init segment of these tracks, numbered 1, 2, … in order; no times or random ids are in it.

    Each track's timescale is its clock rate. With G.711 the brand is QuickTime's, where its sample entry is defined.

    Raises:
        InvalidMedia: A track whose decoder configuration is missing, or whose figures fit in no box.
    """
    try:
        traks = _traks(tracks)
    except struct.error as error:
        raise InvalidMedia(str(error), "params") from error
    brand = _QUICKTIME if any(params.codec in _G711 for params in tracks) else _ISO
    return brand + box(b"moov", _mvhd(len(tracks)), *traks, _mvex(len(tracks)))


def _mvhd(tracks: int) -> bytes:
    fields = struct.pack(">IIIIIH10x", 0, 0, _MOVIE_TIMESCALE, 0, 1 << 16, 1 << 8)
    return full_box(b"mvhd", 0, 0, fields, _MATRIX, bytes(24), struct.pack(">I", tracks + 1))


def _traks(tracks: Sequence[TrackParams]) -> list[bytes]:
    return [_trak(number, params) for number, params in enumerate(tracks, 1)]


def _trak(number: int, params: TrackParams) -> bytes:
    volume = 0 if params.codec.is_video else 1 << 8
    place = struct.pack(">IIIII8xHHHxx", 0, 0, number, 0, 0, 0, 0, volume)
    size = struct.pack(">II", params.width << 16, params.height << 16)
    enabled_in_movie = 3
    return box(b"trak", full_box(b"tkhd", 0, enabled_in_movie, place, _MATRIX, size), _mdia(params))


def _mdia(params: TrackParams) -> bytes:
    media_header = full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, params.clock_rate, 0, _UNDETERMINED, 0))
    handler = b"vide" if params.codec.is_video else b"soun"
    name = full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"\0")
    return box(b"mdia", media_header, name, _minf(params))


def _minf(params: TrackParams) -> bytes:
    kind = full_box(b"vmhd", 0, 1, bytes(8)) if params.codec.is_video else full_box(b"smhd", 0, 0, bytes(4))
    this_file = full_box(b"url ", 0, 1)
    where = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), this_file))
    nothing = struct.pack(">I", 0)
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry(params)),
        full_box(b"stts", 0, 0, nothing),
        full_box(b"stsc", 0, 0, nothing),
        full_box(b"stsz", 0, 0, nothing, nothing),
        full_box(b"stco", 0, 0, nothing),
    )
    return box(b"minf", kind, where, table)


def _mvex(tracks: int) -> bytes:
    defaults = [full_box(b"trex", 0, 0, struct.pack(">IIIII", number, 1, 0, 0, 0)) for number in range(1, tracks + 1)]
    return box(b"mvex", *defaults)
