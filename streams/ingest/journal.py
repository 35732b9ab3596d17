"""The journal of an open fragment: what has come in and is in no fragment yet, on disk, so that kill -9 loses little.

One file a feed, named after the feed and the number of the fragment that is open. It begins with the fragmenter's
progress and holds every unit pushed since, so that pushing them again gives the same fragments, byte for byte. A file
is replaced by its successor once the fragments cut from it are spooled (steps 2 and 5 of `streams.ingest.feeds`).

Written without fsync: the page cache survives the death of the process, and a machine that loses power loses its
network's last packets anyway. A tail that was cut off in the middle of a unit is passed over.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit, TrackParams
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.limits import Limits
from streams.ingest.muxer import Progress

SUFFIX: Final = ".journal"
_MOST_BUFFERS: Final = 512
"""Buffers in one `writev`; the system takes 1024."""
_MAGIC: Final = b"LHJ1"
_HEAD: Final = struct.Struct(">4sII")
_UNIT: Final = struct.Struct(">cIHqqqIBxI")
_KEYFRAME, _DAMAGED = 1, 2


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


class _Header(msgspec.Struct):
    feed: FeedInfo
    progress: Progress


class Recovered(msgspec.Struct):
    """What a journal held.

    Attributes:
        files: To be removed once everything is spooled.
        feed: The feed.
        progress: Where its fragmenter stood.
        units: Everything pushed since.
    """

    files: list[Path]
    feed: FeedInfo
    progress: Progress
    units: list[AccessUnit]


def _instant(kind: type, value: int) -> Instant:
    if kind is not Instant:
        msg = f"no journal form for {kind.__name__}"
        raise TypeError(msg)
    return Instant(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=int)
_decoder = msgspec.msgpack.Decoder(_Header, dec_hook=_instant)
_params_decoder = msgspec.msgpack.Decoder(TrackParams)


class Journal:
    """The journal of one feed. Every method may raise OSError: the disk is full, or gone.

    Args:
        directory: Where journals stand.
        feed: Which feed; may be changed, and holds from the next `begin`.
    """

    def __init__(self, directory: Path, feed: FeedInfo) -> None:
        self.feed = feed
        self._directory = directory
        self._file: int | None = None
        self._path: Path | None = None
        self._buffers: list[bytes] = []
        self._params: dict[int, TrackParams] = {}

    def begin(self, fragmenter: Fragmenter) -> None:
        """Start a new file with where the fragmenter stands, and remove the one before."""
        old_file, old_path = self._file, self._path
        self._file = self._path = None
        path = self._directory / f"{self.feed.feed_id}.{fragmenter.progress.seq:08d}{SUFFIX}"
        head = _encoder.encode(_Header(self.feed, fragmenter.progress))
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._path = path
            self._params = {}
            self._buffers = [_HEAD.pack(_MAGIC, len(head), zlib.crc32(head)), head]
            for unit in fragmenter.pending:
                self.append(unit)
            self.flush()
        finally:
            if old_file is not None:
                os.close(old_file)
            if old_path is not None and old_path != path:
                old_path.unlink(missing_ok=True)

    def append(self, unit: AccessUnit) -> None:
        """Remember a unit; it is on disk after the next `flush`. Without a file nothing is remembered."""
        if self._path is None:
            return
        if self._params.get(unit.track) is not unit.params:
            self._params[unit.track] = unit.params
            self._add(b"P", (unit.track, 0, 0, 0, 0, 0), _encoder.encode(unit.params))
        flags = (_KEYFRAME if unit.keyframe else 0) | (_DAMAGED if unit.damaged else 0)
        fields = (unit.track, unit.pts, unit.captured_at, unit.arrived_at, unit.lost_packets, flags)
        self._add(b"U", fields, unit.data)

    def flush(self) -> None:
        """Write what was remembered."""
        buffers, self._buffers = self._buffers, []
        if self._file is None:
            return  # the disk was full: nothing is kept until the next `begin`
        for start in range(0, len(buffers), _MOST_BUFFERS):
            write_all(self._file, buffers[start : start + _MOST_BUFFERS])

    def remove(self) -> None:
        """Everything is spooled, or the journal cannot be trusted any more."""
        file, path, self._file, self._path = self._file, self._path, None, None
        self._buffers = []
        if file is not None:
            os.close(file)
        if path is not None:
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what can be removed, after an error."""
        with suppress(OSError):
            self.remove()

    @property
    def is_open(self) -> bool:
        """Whether there is a file to append to."""
        return self._file is not None

    def _add(self, kind: bytes, fields: tuple[int, int, int, int, int, int], data: bytes) -> None:
        head = _UNIT.pack(kind, len(data), *fields, 0)[:-4]
        self._buffers += (head + zlib.crc32(head).to_bytes(4, "big"), data)


def write_all(file: int, buffers: Sequence[bytes]) -> None:
    """Write buffers one behind the other, whole.

    Raises:
        OSError: Not all of it could be written.
    """
    size = sum(map(len, buffers))
    written = os.writev(file, buffers)
    if written == size:
        return
    rest = memoryview(b"".join(buffers))[written:]
    while rest:
        rest = rest[os.write(file, rest) :]


def recover(directory: Path) -> Iterator[Recovered | tuple[Path, InvalidMedia]]:
    """Read what the process before left behind: one result a feed, or a file that cannot be read and why."""
    feeds: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*" + SUFFIX)):
        feeds.setdefault(path.name.rsplit(".", 2)[0], []).append(path)
    for paths in feeds.values():
        yield from _newest(paths)


def _newest(paths: Sequence[Path]) -> Iterator[Recovered | tuple[Path, InvalidMedia]]:
    """Give the newest readable file of a feed; the ones before it are spooled, one that is torn was never begun."""
    failed: InvalidMedia | None = None
    for path in reversed(paths):
        try:
            feed, progress, units = read(path)
        except InvalidMedia as error:
            failed = failed or error
            continue
        yield Recovered(list(paths), feed, progress, units)
        return
    if failed is not None:
        yield paths[-1], failed


def read(path: Path) -> tuple[FeedInfo, Progress, list[AccessUnit]]:
    """Read a journal up to where it was cut off.

    Raises:
        InvalidMedia: Not a journal, or its beginning is damaged.
    """
    data = path.read_bytes()
    if len(data) < _HEAD.size:
        msg = f"{path.name}: {len(data)} bytes"
        raise InvalidMedia(msg, "journal")
    magic, size, crc = _HEAD.unpack_from(data)
    head = data[_HEAD.size : _HEAD.size + size]
    if magic != _MAGIC or zlib.crc32(head) != crc:
        msg = f"{path.name}: damaged header"
        raise InvalidMedia(msg, "journal")
    try:
        header = _decoder.decode(head)
    except msgspec.DecodeError as error:
        msg = f"{path.name}: {error}"
        raise InvalidMedia(msg, "journal") from error
    return header.feed, header.progress, list(_units(data, _HEAD.size + size))


def _units(data: bytes, at: int) -> Iterable[AccessUnit]:
    params: dict[int, TrackParams] = {}
    while at + _UNIT.size <= len(data):
        kind, size, track, pts, captured_at, arrived_at, lost, flags, crc = _UNIT.unpack_from(data, at)
        body = at + _UNIT.size
        if body + size > len(data) or zlib.crc32(data[at : body - 4]) != crc:
            return
        payload = data[body : body + size]
        at = body + size
        if kind == b"P":
            params[track] = _params_decoder.decode(payload)
            continue
        yield AccessUnit(
            track=track,
            params=params[track],
            pts=pts,
            data=payload,
            keyframe=bool(flags & _KEYFRAME),
            captured_at=Instant(captured_at),
            arrived_at=Instant(arrived_at),
            lost_packets=lost,
            damaged=bool(flags & _DAMAGED),
        )
