"""Reading a partition of the embedded log from an offset on."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from typing import NamedTuple

from domain.bus import Record
from domain.errors import IntegrityError
from streams.bus.framing import (
    FRAME_MIN_BYTES,
    BadFrame,
    decode,
    decode_parts,
    frame_bytes,
    frame_offset,
    value_begin,
)
from streams.bus.part import Descriptor, Part
from streams.bus.partition import PartitionLog

_CHUNK_BYTES = 65_536  # small records are read so many bytes at a time, larger ones by themselves
_HEAD_BYTES = 4096

logger = logging.getLogger(__name__)


class _Want(NamedTuple):
    records: int
    room_bytes: int
    stop: int | None  # no record at or after this offset
    wait: bool  # may block on the disk
    must: bool  # the first record comes however large it is


class Cursor:
    """A place in a partition. One task at a time may fetch from it.

    Args:
        log: The partition.
        offset: Offset of the first record wanted; where it is no longer kept, the oldest that is.
        executor: Threads that read what is not in memory; the event loop's own where None.
    """

    def __init__(self, log: PartitionLog, offset: int, executor: Executor | None = None) -> None:
        self.log = log
        self.offset = offset
        self._executor = executor
        self._part: Part | None = None
        self._source: Descriptor | None = None
        self._position = 0
        self._large = False

    @property
    def ready(self) -> bool:
        """Whether there is something to fetch."""
        return self.offset < self.log.next_offset

    async def fetch(
        self, max_records: int, max_bytes: int, stop: int | None = None, *, must: bool = True
    ) -> list[Record]:
        """Return the next records, and move behind them: at least one if any is there, however large, where it `must`.

        What the page cache holds is read at once, without a thread; the disk never blocks the event loop.

        Raises:
            IntegrityError: The next record is damaged; says where.
            OSError: As the kernel gave it.
        """
        try:
            return self._fetch(_Want(max_records, max_bytes, stop, wait=False, must=must))
        except BlockingIOError:
            loop = asyncio.get_running_loop()
            want = _Want(max_records, max_bytes, stop, wait=True, must=must)
            return await loop.run_in_executor(self._executor, self._fetch, want)

    def fetch_blocking(self, max_records: int, max_bytes: int, stop: int) -> list[Record]:
        """Do as `fetch`, in the caller's thread."""
        return self._fetch(_Want(max_records, max_bytes, stop, wait=True, must=True))

    def _fetch(self, want: _Want) -> list[Record]:
        records: list[Record] = []
        while want.records > 0 and want.room_bytes > 0:
            try:
                part = self._locate(want)
                if part is None:
                    break
                got = self._read_large(part, want) if self._large else self._read_chunk(part, want)
            except (BlockingIOError, IntegrityError):
                if records:
                    break  # these first; the next call meets it again
                raise
            if not got and not want.must:
                break
            records += got
            room_bytes = want.room_bytes - sum(len(record.value or b"") for record in got)
            must = want.must and not records
            want = want._replace(records=want.records - len(got), room_bytes=room_bytes, must=must)
        return records

    def _locate(self, want: _Want) -> Part | None:
        """Stand in the part that holds the next record; None where there is none yet."""
        part = self._part
        if part is None or self.offset >= part.end_offset or part is not self.log.parts[-1]:
            part = self.log.part_of(self.offset)
        if part is None or (want.stop is not None and self.offset >= want.stop):
            return None
        if part is self._part:
            return part
        if self.offset < part.base_offset:
            logger.info("%s: offsets %d to %d are no longer kept", part.path, self.offset, part.base_offset - 1)
            self.offset = part.base_offset
        if not part.indexed and self.offset > part.base_offset and not want.wait:
            raise BlockingIOError
        try:
            self._source = Descriptor(part.path)
        except FileNotFoundError:
            if self.log.part_of(self.offset) is part:
                raise
            return self._locate(want)  # retention or compaction took it away between two looks
        self._part, self._position = part, part.position_before(self.offset)
        return part

    def _read_chunk(self, part: Part, want: _Want) -> list[Record]:
        """Read once, and return the whole records that came; none where a large one stands in front."""
        end_position, end_offset, _ = part.synced
        size = min(end_position - self._position, _CHUNK_BYTES)
        view = self._read(size, want)
        records: list[Record] = []
        room_bytes, at = want.room_bytes, 0
        while len(records) < want.records and len(view) - at >= FRAME_MIN_BYTES:
            total = self._frame_bytes(part, view, at)
            self._large = total > _CHUNK_BYTES
            if at + total > len(view) or (total > room_bytes and not (want.must and not records)):
                break
            if frame_offset(view, at) >= self.offset:
                try:
                    record = self._decode(part, view, at, total)
                except IntegrityError:
                    if records:
                        return records  # these first; the next call meets it again
                    raise
                if want.stop is not None and record.offset >= want.stop:
                    self.offset = want.stop
                    return records
                records.append(record)
                self.offset = record.offset + 1
                room_bytes -= total
            at += total
            self._position += total
        if at == 0 and len(view) < size and not self._large:
            if not want.wait:
                raise BlockingIOError
            raise self._broken(part, "cut off")
        if self._position >= end_position and part is not self.log.parts[-1]:
            self.offset = max(self.offset, end_offset)  # compaction left a hole at the part's end
        return records

    def _read_large(self, part: Part, want: _Want) -> list[Record]:
        """Read one record, its value straight into its place; none where it is not large, or not wanted."""
        end_position = part.synced.position
        head = self._read(min(end_position - self._position, _HEAD_BYTES), want)
        if len(head) < FRAME_MIN_BYTES:
            self._large = False  # the part's end, or not in memory: the other way knows what to do
            return []
        total = self._frame_bytes(part, head, 0)
        self._large = total > _CHUNK_BYTES
        if not self._large or (total > want.room_bytes and not want.must):
            return []
        offset = frame_offset(head, 0)
        if want.stop is not None and offset >= want.stop:
            self.offset = want.stop
            return []
        record = self._record(part, head, total, want) if offset >= self.offset else None
        self._position += total
        if record is None:
            return []
        self.offset = record.offset + 1
        return [record]

    def _record(self, part: Part, head: memoryview, total: int, want: _Want) -> Record:
        source = self._source
        try:
            value_at = value_begin(head, 0, total)
        except BadFrame as error:
            raise self._broken(part, str(error)) from error
        if value_at > len(head) or source is None:  # headers longer than most values
            view = self._read(total, want)
            if len(view) < total and not want.wait:
                raise BlockingIOError
            return self._decode(part, view, 0, total)
        value = source.read_value(self._position + value_at, total - value_at, wait=want.wait)
        try:
            record = decode_parts(bytes(head[:value_at]), value, self.log.topic.name, self.log.partition)
            return self._expected(part, record)
        except BadFrame as error:
            raise self._broken(part, str(error)) from error

    def _read(self, size: int, want: _Want) -> memoryview:
        if self._source is None or size <= 0:
            return memoryview(b"")
        return self._source.read(self._position, size, wait=want.wait)

    def _frame_bytes(self, part: Part, view: memoryview, at: int) -> int:
        total = frame_bytes(view, at)
        if total < FRAME_MIN_BYTES or self._position + total > part.synced.position:
            raise self._broken(part, "its length cannot be")
        return total

    def _decode(self, part: Part, view: memoryview, at: int, total: int) -> Record:
        try:
            return self._expected(part, decode(view, at, at + total, self.log.topic.name, self.log.partition))
        except BadFrame as error:
            raise self._broken(part, str(error)) from error

    def _expected(self, part: Part, record: Record) -> Record:
        """Nothing may be missing in front of it: a frame with a damaged offset would have been passed over."""
        if record.offset != self.offset and not part.compacted:
            raise self._broken(part, f"the next readable record is at offset {record.offset}")
        return record

    def _broken(self, part: Part, why: str) -> IntegrityError:
        return part.broken(self.log.topic.name, self.log.partition, self.offset, self._position, why)
