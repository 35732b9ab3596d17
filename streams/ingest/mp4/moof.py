"""Movie fragments: `moof` and `mdat` of one or more tracks (ISO/IEC 14496-12, 8.8.4 to 8.8.12)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec

from streams.ingest.mp4.boxes import full_box, header

_DEFAULT_BASE_IS_MOOF: Final = 0x020000
_DATA_OFFSET: Final = 0x000001
_DURATION: Final = 0x000100
_SIZE: Final = 0x000200
_FLAGS: Final = 0x000400
_COMPOSITION_OFFSET: Final = 0x000800

SYNC: Final = 0x02000000
"""Sample flags: depends on no other."""
NOT_SYNC: Final = 0x01010000
"""Sample flags: depends on others, not a sync sample."""
_TRUN_FIXED_BYTES: Final = 20
_DATA_OFFSET_AT: Final = 16


class Run(msgspec.Struct):
    """Consecutive samples of one track in a fragment; the lists are of equal length, times in ticks of the track.

    Attributes:
        track: Number of the track in the init segment, from 1.
        decode_time: Of the first sample, from the start of the segment.
        samples: Their bytes.
        durations: Decode time from each to the next; at least 1.
        flags: `SYNC` or `NOT_SYNC` each; None where all are sync samples (sound).
        offsets: Composition time − decode time, not negative; None where all are 0.
    """

    track: int
    decode_time: int
    samples: Sequence[bytes]
    durations: Sequence[int]
    flags: Sequence[int] | None = None
    offsets: Sequence[int] | None = None


def fragment(sequence: int, runs: Sequence[Run]) -> list[bytes]:
    """Return `moof` and `mdat` in pieces to be joined: samples of one track after the other, in the order of `runs`.

    Args:
        sequence: Sequence number of the movie fragment.
        runs: At most one run a track, none empty.
    """
    trafs = [_traf(run) for run in runs]
    moof_bytes = 8 + 16 + sum(len(head) + len(trun) for head, trun in trafs)
    offset = moof_bytes + 8
    parts: list[bytes] = []
    for run, (head, trun) in zip(runs, trafs, strict=True):
        struct.pack_into(">I", trun, _DATA_OFFSET_AT, offset)
        offset += sum(map(len, run.samples))
        parts += (head, bytes(trun))
    number = full_box(b"mfhd", 0, 0, struct.pack(">I", sequence & 0xFFFFFFFF))
    data_bytes = offset - moof_bytes - 8
    return [
        header(b"moof", moof_bytes - 8),
        number,
        *parts,
        header(b"mdat", data_bytes),
        *chain.from_iterable(run.samples for run in runs),
    ]


def _traf(run: Run) -> tuple[bytes, bytearray]:
    """Return the headers of a track fragment, and its trun, whose data offset is filled in once all sizes are known."""
    trun = _trun(run)
    sync = run.flags is None
    defaults = struct.pack(">II", run.track, SYNC) if sync else struct.pack(">I", run.track)
    tfhd = full_box(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF | (0x20 if sync else 0), defaults)
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">Q", run.decode_time))
    return header(b"traf", len(tfhd) + len(tfdt) + len(trun)) + tfhd + tfdt, trun


def _trun(run: Run) -> bytearray:
    columns: list[Sequence[int]] = [run.durations, list(map(len, run.samples))]
    flags = _DATA_OFFSET | _DURATION | _SIZE
    if run.flags is not None:
        columns.append(run.flags)
        flags |= _FLAGS
    if run.offsets is not None:
        columns.append(run.offsets)
        flags |= _COMPOSITION_OFFSET
    count = len(run.samples)
    table = struct.pack(f">{count * len(columns)}I", *chain.from_iterable(zip(*columns, strict=True)))
    size = _TRUN_FIXED_BYTES + len(table)
    trun = bytearray(struct.pack(">I4sIII", size, b"trun", flags, count, 0))
    trun += table
    return trun


def skeleton_bytes(tracks: int, samples: int) -> int:
    """Return an upper bound for what a fragment adds to its samples' bytes, the init segment not counted."""
    return 32 + tracks * 80 + samples * 16
