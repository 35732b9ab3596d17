"""The journal of a feed: what has come in and is not safe elsewhere yet, on disk, so that kill -9 loses little.

A journal is a row of sections. Each begins with where the fragmenter stands and the units pending, and holds every unit
pushed since, so that pushing them again gives the same fragments, byte for byte. A section begins behind each cut; the
files they stand in, named after the feed and the fragment that is open at their beginning, are changed every
`ROLL_BYTES`. A file goes once all fragments cut from it are safe: acknowledged by the log, or written to the spool.

Written without fsync: the page cache survives the death of the process, and a machine that loses power loses its
network's last packets anyway. A tail that was cut off in the middle of a unit is passed over.

After four octets of magic a file is made of frames: kind, number, length of the body, CRC-32 of all that, the body::

    H   a section: JSON-like body of feed and progress
    P   parameters of track `number`
    U   `number` units: a table of their fields, and behind the body their bytes
    A   fragments before `number` are safe
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from domain.media import AccessUnit, TrackParams
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.limits import Limits
from streams.ingest.muxer import Progress

SUFFIX: Final = ".journal"
SEALED: Final = "s"
"""Behind the number in the name: what was pushed after the last cut went on elsewhere; it is no fragment of its own."""
ROLL_BYTES: Final = 4_000_000
"""A file longer than this is changed at the next cut; making and removing one costs as much as writing 100 kB."""
_MOST_BUFFERS: Final = 512
"""Buffers in one `writev`; the system takes 1024."""
MAGIC: Final = b"LHJ2"
FRAME: Final = struct.Struct(">cII")
CRC: Final = struct.Struct(">I")
UNIT: Final = struct.Struct(">IHBqqqI")
KEYFRAME, DAMAGED = 1, 2


class FeedInfo(msgspec.Struct, frozen=True):
    """Which feed a journal is of.

    Attributes:
        feed_id: The feed.
        recorder_id: Whose it is.
        session_id: Session of its fragments.
        path: How it came: `rtsp` or `whip`.
        by_day: Its session is the calendar day, changing at midnight.
        limits: How it is cut; a restart with other settings must not cut it differently.
    """

    feed_id: str
    recorder_id: str
    session_id: str
    path: str
    by_day: bool
    limits: Limits


class Header(msgspec.Struct):
    """How a section begins: the feed, and where its fragmenter stands."""

    feed: FeedInfo
    progress: Progress


_encoder = msgspec.msgpack.Encoder(enc_hook=int)


class _File:
    """One file being written, or kept.

    Attributes:
        path: Where it is.
        size: Bytes so far.
        ends: Number of the first fragment that is not cut from it alone.
    """

    def __init__(self, path: Path, seq: int) -> None:
        self.path = path
        self.size = 0
        self.ends = seq
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, buffers: Sequence[bytes]) -> None:
        for start in range(0, len(buffers), _MOST_BUFFERS):
            self.size += write_all(self._descriptor, buffers[start : start + _MOST_BUFFERS])

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Journal:
    """The journal of one feed. `begin`, `flush` and `retire` may raise OSError: the disk is full, or gone.

    Args:
        directory: Where journals stand.
        feed: Which feed; may be changed, and holds from the next `begin`.
    """

    def __init__(self, directory: Path, feed: FeedInfo) -> None:
        self.feed = feed
        self._directory = directory
        self._file: _File | None = None
        self._kept: list[_File] = []  # bounded by what the spool holds in memory: no other fragment needs them
        self._units: list[AccessUnit] = []
        self._params: dict[int, TrackParams] = {}
        self._safe = 0
        self._safe_written = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a file to append to."""
        return self._file is not None

    def begin(self, fragmenter: Fragmenter) -> None:
        """Begin a section where the fragmenter stands; what was pushed before must be flushed, as far as it is cut."""
        seq = fragmenter.progress.seq
        file = self._file
        if file is None or file.size >= ROLL_BYTES:
            file = self._roll(seq)
        head = _encoder.encode(Header(self.feed, fragmenter.progress))
        self._params = {}
        self._units = list(fragmenter.pending)
        file.write([*_frame(b"H", 0, head), *self._batches()])
        file.ends = seq

    def append(self, unit: AccessUnit) -> None:
        """Remember a unit; it is on disk after the next `flush`. Without a file nothing is remembered."""
        if self._file is not None:
            self._units.append(unit)

    def flush(self) -> None:
        """Write what was remembered."""
        if self._file is None:
            return  # the disk was full: nothing is kept until the next `begin`
        buffers = self._batches()
        if self._safe != self._safe_written:
            self._safe_written = self._safe
            buffers += _frame(b"A", self._safe, b"")
        if buffers:
            self._file.write(buffers)

    def release(self, seq: int) -> None:
        """Learn that a fragment, and all before it, are safe elsewhere; never raises."""
        self._safe = max(self._safe, seq + 1)
        for file in [file for file in self._kept if file.ends <= self._safe]:
            self._kept.remove(file)
            with suppress(OSError):  # found and passed over by the next start
                file.path.unlink(missing_ok=True)

    def retire(self) -> None:
        """End it: nothing more comes, or it cannot be trusted any more. Files go as their fragments become safe."""
        file, self._file = self._file, None
        self._units = []
        if file is None:
            return
        file.close()
        if file.ends <= self._safe:
            file.path.unlink(missing_ok=True)
            return
        number = file.path.name.removesuffix(SUFFIX)
        file.path = file.path.rename(file.path.with_name(number + SEALED + SUFFIX))
        self._kept.append(file)

    def _roll(self, seq: int) -> _File:
        """Change the file. The old one stays until its fragments are safe; the newer one says that it has ended."""
        old, self._file = self._file, None
        if old is not None:
            old.ends = seq
            old.close()
            self._kept.append(old)
        path = self._directory / f"{self.feed.feed_id}.{seq:08d}{SUFFIX}"
        self._file = _File(path, seq)
        self._file.write([MAGIC])
        self.release(self._safe - 1)
        self._safe_written = 0
        return self._file

    def _batches(self) -> list[bytes]:
        """Take what was remembered as frames: units, parted where parameters change."""
        units, self._units = self._units, []
        buffers: list[bytes] = []
        first = 0
        for index, unit in enumerate(units):
            if self._params.get(unit.track) is not unit.params:
                buffers += _batch(units[first:index])
                buffers += _frame(b"P", unit.track, _encoder.encode(unit.params))
                first, self._params[unit.track] = index, unit.params
        return buffers + _batch(units[first:])


def _batch(units: Sequence[AccessUnit]) -> list[bytes]:
    if not units:
        return []
    table = b"".join(
        [
            UNIT.pack(
                len(unit.data),
                unit.track,
                (KEYFRAME if unit.keyframe else 0) | (DAMAGED if unit.damaged else 0),
                unit.pts,
                unit.captured_at,
                unit.arrived_at,
                unit.lost_packets,
            )
            for unit in units
        ]
    )
    return [*_frame(b"U", len(units), table), *(unit.data for unit in units)]


def _frame(kind: bytes, number: int, body: bytes) -> list[bytes]:
    head = FRAME.pack(kind, number, len(body))
    return [head + CRC.pack(zlib.crc32(body, zlib.crc32(head))), body]


def write_all(file: int, buffers: Sequence[bytes]) -> int:
    """Write buffers one behind the other, whole; return their size.

    Raises:
        OSError: Not all of it could be written.
    """
    size = sum(map(len, buffers))
    written = os.writev(file, buffers)
    if written < size:
        rest = memoryview(b"".join(buffers))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]
    return size
