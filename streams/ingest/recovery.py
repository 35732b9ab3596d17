"""What journals say after a crash: see `streams.ingest.journal` for their form."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit, TrackParams
from streams.ingest.journal import CRC, DAMAGED, FRAME, KEYFRAME, MAGIC, SEALED, SUFFIX, UNIT, FeedInfo, Header
from streams.ingest.muxer import Progress


class Section(msgspec.Struct):
    """What was pushed from one cut to the next.

    Attributes:
        feed: The feed, as it was then.
        progress: Where its fragmenter stood.
        units: Those pending then, and everything pushed since.
    """

    feed: FeedInfo
    progress: Progress
    units: list[AccessUnit]


class Recovered(msgspec.Struct):
    """What a feed's journal held.

    Attributes:
        files: To be removed once everything is spooled.
        sections: In order, at least one; those whose fragments are all safe are left out.
        safe: Fragments before this number are safe.
        is_sealed: What stands behind the last cut is elsewhere.
    """

    files: list[Path]
    sections: list[Section]
    safe: int
    is_sealed: bool

    @property
    def feed(self) -> FeedInfo:
        """The feed, as it was last."""
        return self.sections[-1].feed


def _instant(kind: type, value: int) -> Instant:
    if kind is not Instant:
        msg = f"no journal form for {kind.__name__}"
        raise TypeError(msg)
    return Instant(value)


_decoder = msgspec.msgpack.Decoder(Header, dec_hook=_instant)
_params_decoder = msgspec.msgpack.Decoder(TrackParams)


def recover(directory: Path) -> Iterator[Recovered | tuple[Path, InvalidMedia]]:
    """Read what the process before left behind: one result a feed, or a file that cannot be read and why."""
    feeds: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*" + SUFFIX), key=_order):
        feeds.setdefault(path.name.rsplit(".", 2)[0], []).append(path)
    for paths in feeds.values():
        yield from _recover_feed(paths)


def _order(path: Path) -> tuple[str, bool]:
    name = path.name.removesuffix(SUFFIX)
    return name.removesuffix(SEALED), not name.endswith(SEALED)


def _recover_feed(paths: list[Path]) -> Iterator[Recovered | tuple[Path, InvalidMedia]]:
    """Put a feed's files together; one that is torn at its beginning was never begun."""
    sections: list[Section] = []
    safe, is_sealed = 0, False
    failed: tuple[Path, InvalidMedia] | None = None
    for path in paths:
        try:
            its_sections, its_safe = read(path)
        except InvalidMedia as error:
            failed = path, error
            continue
        sections += its_sections
        safe = max(safe, its_safe)
        is_sealed = path.name.removesuffix(SUFFIX).endswith(SEALED)
    if sections:
        needed = [one for one, after in pairwise(sections) if after.progress.seq > safe]
        yield Recovered(paths, [*needed, sections[-1]], safe, is_sealed)
    elif failed is not None:
        yield failed


def read(path: Path) -> tuple[list[Section], int]:
    """Read a file up to where it was cut off: its sections, and the number before which fragments are safe.

    Raises:
        InvalidMedia: Not a journal, or its beginning is damaged.
    """
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        msg = f"{path.name}: {len(data)} bytes, not a journal"
        raise InvalidMedia(msg, "journal")
    sections: list[Section] = []
    params: dict[int, TrackParams] = {}
    safe = 0
    try:
        for kind, number, body, at in _frames(data):
            if kind == b"H":
                header = _decoder.decode(body)
                sections.append(Section(header.feed, header.progress, []))
                params = {}
            elif kind == b"P":
                params[number] = _params_decoder.decode(body)
            elif kind == b"U":
                sections[-1].units += _units(data, body, at, params)
            else:
                safe = number
    except (msgspec.DecodeError, LookupError) as error:
        msg = f"{path.name}: {error}"
        raise InvalidMedia(msg, "journal") from error
    if not sections:
        msg = f"{path.name}: damaged header"
        raise InvalidMedia(msg, "journal")
    return sections, safe


def _frames(data: bytes) -> Iterator[tuple[bytes, int, bytes, int]]:
    """Give kind, number and body of each whole frame, and where what follows it begins."""
    at = len(MAGIC)
    head_bytes = FRAME.size + CRC.size
    while at + head_bytes <= len(data):
        kind, number, size = FRAME.unpack_from(data, at)
        body = data[at + head_bytes : at + head_bytes + size]
        if zlib.crc32(body, zlib.crc32(data[at : at + FRAME.size])) != CRC.unpack_from(data, at + FRAME.size)[0]:
            return
        at += head_bytes + size
        yield kind, number, body, at
        if kind == b"U":
            at += sum(fields[0] for fields in UNIT.iter_unpack(body))


def _units(data: bytes, table: bytes, at: int, params: dict[int, TrackParams]) -> Iterator[AccessUnit]:
    for size, track, flags, pts, captured_at, arrived_at, lost in UNIT.iter_unpack(table):
        if at + size > len(data):
            return
        yield AccessUnit(
            track=track,
            params=params[track],
            pts=pts,
            data=data[at : at + size],
            keyframe=bool(flags & KEYFRAME),
            captured_at=Instant(captured_at),
            arrived_at=Instant(arrived_at),
            lost_packets=lost,
            damaged=bool(flags & DAMAGED),
        )
        at += size
