"""What a start does with the parts it finds: cut torn tails, name damage, throw nothing else away."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

from domain.clock import Instant
from domain.errors import IntegrityError
from streams.bus.files import Files
from streams.bus.framing import (
    FRAME_MIN_BYTES,
    HEADER_BYTES,
    MARK_AT,
    BadFrame,
    Mark,
    PartHeader,
    decode,
    decode_header,
    encode_mark,
    frame_bytes,
)
from streams.bus.part import Descriptor, Part

SUFFIX = ".part"
DRAFT_SUFFIX = ".draft"
_SCAN_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What a partition's directory holds.

    Attributes:
        parts: Oldest first.
        appendable: Whether the last one may be written on; a damaged one may not.
    """

    parts: list[Part]
    appendable: bool


class _Scan(NamedTuple):
    mark: Mark
    bad: str  # what stands at `mark.position`, empty where the walk ended cleanly


class _File(NamedTuple):
    path: Path
    header: PartHeader
    topic: str
    partition: int


def recover(directory: Path, files: Files, topic: str, partition: int) -> Recovered:
    """Open a partition's parts; the numbers are those of `docs/design/log.md`, "Recover".

    Raises:
        IntegrityError: A part whose header cannot be read, or parts that do not follow on one another.
        OSError: As the kernel gave it.
    """
    # 1. Drafts of a compaction that did not finish are no records of ours.
    for draft in directory.glob("*" + DRAFT_SUFFIX):
        files.delete(draft)
    # 2. A last part without a whole header never held a record.
    paths = sorted(directory.glob("*" + SUFFIX))
    if paths and paths[-1].stat().st_size < HEADER_BYTES:
        files.delete(paths.pop())
    # 3. Closed parts end at their mark.
    parts: list[Part] = []
    appendable = True
    for path, following in zip(paths, [*paths[1:], None], strict=False):
        file = _File(path, _header(path), topic, partition)
        if parts and _is_superseded(parts[-1], file.header):
            files.delete(path)  # 4. Compaction put it into the part before, then died.
            continue
        if following is None:
            part, appendable = _recover_last(file, files)  # 5.
        else:
            part = _closed(file, int(following.stem))
        _check_follows(parts, part)
        parts.append(part)
    files.sync_directory(directory)
    return Recovered(parts, appendable and bool(parts) and not parts[-1].compacted)


def _header(path: Path) -> PartHeader:
    with path.open("rb") as source:
        data = source.read(HEADER_BYTES)
    try:
        return decode_header(data)
    except BadFrame as error:
        raise IntegrityError(f"{path}: {error}") from error


def _is_superseded(before: Part, header: PartHeader) -> bool:
    return before.compacted and header.base_offset < before.end_offset


def _closed(file: _File, next_base: int) -> Part:
    """Open a part that others follow. Its mark may be older than the truth if its last sync failed: look behind it."""
    path, header = file.path, file.header
    mark = header.mark or Mark(HEADER_BYTES, header.base_offset, Instant(0))
    damage = ""
    if mark.next_offset < next_base and not header.compacted:
        mark, damage = _scan(file, mark, stop=next_base)
    if path.stat().st_size < mark.position:
        damage = f"cut off at {path.stat().st_size} of {mark.position} bytes"
    if damage:
        logger.error("%s: %s", path, damage)
    return Part(path, header.base_offset, header.created, mark, compacted=header.compacted, damage=damage)


def _recover_last(file: _File, files: Files) -> tuple[Part, bool]:
    """Check every record of the last part, and cut what was torn behind the last synced point."""
    path, header = file.path, file.header
    begin = Mark(HEADER_BYTES, header.base_offset, Instant(0))
    part = Part(path, header.base_offset, header.created, begin, compacted=header.compacted)
    part.start_index()
    scan = _scan(file, begin, index=part)
    if scan.bad and (header.mark is None or scan.mark.position < header.mark.position):
        # Below the mark it is damage, not a torn write. Nothing is cut; what stands behind the mark still counts.
        part.damage = f"byte {scan.mark.position} (offset {scan.mark.next_offset}): {scan.bad}"
        logger.error("%s: %s", path, part.damage)
        if header.mark is None:
            raise IntegrityError(f"{path}: neither its mark nor the record at {part.damage} can be read")
        scan = _scan(file, header.mark)
    _cut(path, files, scan)
    part.synced = scan.mark
    return part, not part.damage


def _cut(path: Path, files: Files, scan: _Scan) -> None:
    descriptor = files.open(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > scan.mark.position:
            logger.warning(
                "%s: torn tail of %d bytes cut off at %d", path, size - scan.mark.position, scan.mark.position
            )
            files.truncate(descriptor, scan.mark.position)
        files.sync(descriptor)
        files.write(descriptor, [encode_mark(scan.mark)], MARK_AT)
    finally:
        files.close(descriptor)


def _check_follows(parts: list[Part], part: Part) -> None:
    if parts and parts[-1].end_offset != part.base_offset:
        before = parts[-1]
        hole = f"its records end at offset {before.end_offset}, the next part begins at {part.base_offset}"
        before.damage = before.damage or hole
        logger.error("%s: %s", before.path, hole)


def _scan(file: _File, begin: Mark, *, stop: int | None = None, index: Part | None = None) -> _Scan:
    """Read records from a mark to the end of the file, to offset `stop`, or to the first that is none."""
    source = Descriptor(file.path)
    size = file.path.stat().st_size
    at, offset, newest = begin
    view, view_at = memoryview(b""), at
    while at < size and offset != stop:
        if at + FRAME_MIN_BYTES > size:
            return _Scan(Mark(at, offset, newest), "cut off")
        if at - view_at + FRAME_MIN_BYTES > len(view):
            view, view_at = source.read(at, _SCAN_BYTES, wait=True), at
        total = frame_bytes(view, at - view_at)
        if at + total > size:
            return _Scan(Mark(at, offset, newest), "longer than the file")
        if at - view_at + total > len(view):
            view, view_at = source.read(at, max(_SCAN_BYTES, total), wait=True), at
        try:
            record = decode(view, at - view_at, at - view_at + total, file.topic, file.partition)
        except BadFrame as error:
            return _Scan(Mark(at, offset, newest), str(error))
        if record.offset != offset and not (file.header.compacted and record.offset > offset):
            return _Scan(Mark(at, offset, newest), f"it says offset {record.offset}")
        if index is not None:
            index.note(record.offset, at)
        at, offset, newest = at + total, record.offset + 1, record.timestamp
    if file.header.compacted and file.header.mark is not None:
        offset = max(offset, file.header.mark.next_offset)
    return _Scan(Mark(at, offset, newest), "")
