"""Reading a partition of the embedded log from an offset on."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor

from domain.bus import Record
from domain.errors import IntegrityError
from streams.bus.framing import FRAME_MIN_BYTES, BadFrame, decode, frame_bytes
from streams.bus.part import Descriptor, Part
from streams.bus.partition import PartitionLog

_CHUNK_BYTES = 65_536

logger = logging.getLogger(__name__)


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
            return self._fetch(max_records, max_bytes, stop, wait=False, must=must)
        except BlockingIOError:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._executor, lambda: self._fetch(max_records, max_bytes, stop, wait=True, must=must)
            )

    def fetch_blocking(self, max_records: int, max_bytes: int, stop: int) -> list[Record]:
        """Do as `fetch`, in the caller's thread."""
        return self._fetch(max_records, max_bytes, stop, wait=True, must=True)

    def _fetch(self, max_records: int, max_bytes: int, stop: int | None, *, wait: bool, must: bool) -> list[Record]:
        records: list[Record] = []
        room = max_bytes
        while len(records) < max_records and room > 0:
            try:
                if not self._locate(stop, wait=wait):
                    break
                got = self._fetch_chunk(max_records - len(records), room, stop, wait=wait, must=must and not records)
            except (BlockingIOError, IntegrityError):
                if records:
                    break  # these first; the next call meets it again
                raise
            if not got and (records or not must):
                break
            records += got
            room -= sum(len(record.value or b"") for record in got)
        return records

    def _locate(self, stop: int | None, *, wait: bool) -> bool:
        """Stand in the part that holds the next record; False where there is none yet."""
        part = self._part
        if part is None or self.offset >= part.end_offset or part is not self.log.parts[-1]:
            part = self.log.part_of(self.offset)
        if part is None or (stop is not None and self.offset >= stop):
            return False
        if part is self._part:
            return True
        if self.offset < part.base_offset:
            logger.info("%s: offsets %d to %d are no longer kept", part.path, self.offset, part.base_offset - 1)
            self.offset = part.base_offset
        if not part.indexed and self.offset > part.base_offset and not wait:
            raise BlockingIOError
        try:
            self._source = Descriptor(part.path)
        except FileNotFoundError:
            return self._locate_again(stop, part, wait=wait)
        self._part, self._position = part, part.position_before(self.offset)
        return True

    def _locate_again(self, stop: int | None, gone: Part, *, wait: bool) -> bool:
        """Retention or compaction took the part away between two looks."""
        if self.log.part_of(self.offset) is gone:
            raise FileNotFoundError(f"{gone.path} is gone")
        return self._locate(stop, wait=wait)

    def _fetch_chunk(self, max_records: int, room: int, stop: int | None, *, wait: bool, must: bool) -> list[Record]:
        """Read once, and return the whole records that came; none where a large one was only measured."""
        part, source = self._part, self._source
        if part is None or source is None:
            return []
        end_position, end_offset, _ = part.synced
        size = min(end_position - self._position, self._chunk_bytes(source, end_position, wait=wait))
        view = source.read(self._position, size, wait=wait) if size > 0 else memoryview(b"")
        records: list[Record] = []
        at = 0
        while len(records) < max_records and len(view) - at >= FRAME_MIN_BYTES:
            total = self._frame_bytes(part, view, at, end_position)
            self._large = total > _CHUNK_BYTES
            if at + total > len(view) or (total > room and (records or not must)):
                break
            record = self._decode(part, view, at, at + total)
            if stop is not None and record.offset >= stop:
                self.offset = stop
                return records
            if record.offset >= self.offset:
                records.append(record)
                self.offset = record.offset + 1
                room -= total
            at += total
            self._position += total
        if at == 0 and len(view) < size:
            if not wait:
                raise BlockingIOError
            raise self._broken(part, "cut off")
        if self._position >= end_position and part is not self.log.parts[-1]:
            self.offset = max(self.offset, end_offset)  # compaction left a hole at the part's end
        return records

    def _chunk_bytes(self, source: Descriptor, end_position: int, *, wait: bool) -> int:
        """Return how much to read: large records one by one and exactly, small ones together."""
        if not self._large or end_position - self._position < FRAME_MIN_BYTES:
            return _CHUNK_BYTES
        head = source.read(self._position, FRAME_MIN_BYTES, wait=wait)
        return max(_CHUNK_BYTES, frame_bytes(head, 0)) if len(head) == FRAME_MIN_BYTES else _CHUNK_BYTES

    def _frame_bytes(self, part: Part, view: memoryview, at: int, end_position: int) -> int:
        total = frame_bytes(view, at)
        if total < FRAME_MIN_BYTES or self._position + total > end_position:
            raise self._broken(part, "its length cannot be")
        return total

    def _broken(self, part: Part, why: str) -> IntegrityError:
        return part.broken(self.log.topic.name, self.log.partition, self.offset, self._position, why)

    def _decode(self, part: Part, view: memoryview, at: int, end: int) -> Record:
        try:
            return decode(view, at, end, self.log.topic.name, self.log.partition)
        except BadFrame as error:
            raise self._broken(part, str(error)) from error
