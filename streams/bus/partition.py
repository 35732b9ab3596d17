"""One partition of the embedded log on disk: appended to by the writer thread, read by everyone else."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from domain.clock import Instant
from domain.topics import Topic
from streams.bus.files import Files
from streams.bus.framing import HEADER_BYTES, MARK_AT, Entry, Mark, encode_header, encode_mark, encode_prefix
from streams.bus.part import Part
from streams.bus.recovery import SUFFIX, recover
from streams.bus.waiting import Bell

_JOIN_BYTES = 32_768
_CACHED_BYTES = 8_000_000
"""Of the last part so much, and up to twice as much, is left in memory for readers; what is older makes room for what
comes. A page that was in use a moment ago costs less to fill than one that the machine has to find."""

logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """When a part is closed and the next one begun.

    Attributes:
        part_bytes: Size, bytes.
        part_age_ms: Age of its first record, milliseconds.
    """

    part_bytes: int
    part_age_ms: int


def limits_of(topic: Topic) -> Limits:
    """Return the limits for a topic: parts live at most an eighth of the retention, so that age is kept to it."""
    hour_ms = 3_600_000
    if topic.compacted:
        return Limits(4_000_000, 24 * hour_ms)
    age_ms = hour_ms if topic.retention_s is None else topic.retention_s * 1000 // 8
    return Limits(64_000_000, max(200, min(hour_ms, age_ms)))


class PartitionLog:
    """The parts of one partition.

    Only the writer thread appends. `parts` is a tuple that is replaced as a whole, under `lock`, so that readers need
    none.

    Args:
        directory: Where its parts stand; made if missing.
        topic: What the topic is made with.
        partition: Number of the partition.
        files: The file system.
        limits: When parts are closed; by the topic where None.
    """

    def __init__(
        self, directory: Path, topic: Topic, partition: int, files: Files, limits: Limits | None = None
    ) -> None:
        self.directory = directory
        self.topic = topic
        self.partition = partition
        self.limits = limits or limits_of(topic)
        self.lock = threading.Lock()
        self.parts: tuple[Part, ...] = ()
        self.bells: set[Bell] = set()  # rung on the event loop when there is more to read
        self._files = files
        self._descriptor: int | None = None
        self._pending: Mark | None = None  # written, not yet synced
        self._seal_first = False
        self._cached_from = 0

    def open(self) -> None:
        """Recover what is there.

        Raises:
            IntegrityError: Parts that cannot be read as parts.
            OSError: As the kernel gave it.
        """
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True)
            self._files.sync_directory(self.directory.parent)
        found = recover(self.directory, self._files, self.topic.name, self.partition)
        self.parts = tuple(found.parts)
        self._seal_first = bool(found.parts) and not found.appendable

    @property
    def next_offset(self) -> int:
        """Offset of the record that comes next; everything before it is on the disk."""
        return self.parts[-1].end_offset if self.parts else 0

    @property
    def first_offset(self) -> int:
        """Oldest offset kept."""
        return self.parts[0].base_offset if self.parts else 0

    def part_of(self, offset: int) -> Part | None:
        """Return the part that holds `offset`, or the first after it; None at the end."""
        parts = self.parts
        at = max(0, bisect_right(parts, offset, key=_base_offset) - 1)
        for part in parts[at:]:
            if offset < part.end_offset:
                return part
        return None

    def append(self, entries: Sequence[Entry]) -> int:
        """Write records behind the last one and return the first one's offset; `sync` makes them last.

        Raises:
            OSError: Nothing of this is acknowledged; `abandon` must follow.
        """
        part = self._writable(entries[0].timestamp)
        first, position = part.synced.next_offset, part.synced.position
        offset, end, buffers, small = first, position, list[bytes](), list[bytes]()
        for entry in entries:
            prefix = encode_prefix(offset, entry)
            value = entry.value or b""
            part.note(offset, end)
            small.append(prefix)
            if len(value) > _JOIN_BYTES:
                buffers += (b"".join(small), value)
                small = []
            else:
                small.append(value)
            offset += 1
            end += len(prefix) + len(value)
        buffers.append(b"".join(small))
        self._files.write(self._open_descriptor(), buffers, position)
        self._pending = Mark(end, offset, entries[-1].timestamp)
        return first

    def sync(self) -> None:
        """Put what was appended on the disk, then show it to readers.

        Raises:
            OSError: Nothing of this is acknowledged; `abandon` must follow, with `sync_failed`.
        """
        if self._pending is None:
            return
        descriptor = self._open_descriptor()
        self._files.sync(descriptor)
        # Not synced itself: the mark may fall behind the truth, but never run ahead of it.
        self._files.write(descriptor, [encode_mark(self._pending)], MARK_AT)
        self.parts[-1].synced, self._pending = self._pending, None
        end = self.parts[-1].synced.position
        if end - self._cached_from >= 2 * _CACHED_BYTES:
            self._files.forget(descriptor, self._cached_from, end - _CACHED_BYTES)
            self._cached_from = end - _CACHED_BYTES

    def abandon(self, *, sync_failed: bool) -> None:
        """Close the part after a failure. The next append re-opens it and cuts it back to its last synced record."""
        descriptor, self._descriptor, self._pending = self._descriptor, None, None
        if self.parts:
            self.parts[-1].forget_after_synced()
        # After a failed sync the kernel may call pages clean that never reached the disk: write elsewhere from now on.
        self._seal_first = self._seal_first or sync_failed
        if descriptor is not None:
            self._files.close(descriptor)

    def roll_if_old(self, now: Instant) -> None:
        """Close the last part if its time is over, so that retention can drop it."""
        if self.parts and self.parts[-1].end_offset > self.parts[-1].base_offset and self._is_full(self.parts[-1], now):
            self._begin_part(now)

    def close(self) -> None:
        """Sync the mark and let go."""
        if self._descriptor is not None:
            self._files.sync(self._descriptor)
            self._files.close(self._descriptor)
            self._descriptor = None

    def _writable(self, now: Instant) -> Part:
        if not self.parts or self._seal_first or self._is_full(self.parts[-1], now):
            self._begin_part(now)
        return self.parts[-1]

    def _is_full(self, part: Part, now: Instant) -> bool:
        if part.end_offset == part.base_offset:
            return False
        return part.synced.position >= self.limits.part_bytes or now - part.created >= self.limits.part_age_ms

    def _open_descriptor(self) -> int:
        """Return the last part's descriptor; re-opened after a failure, it is cut back to what was acknowledged."""
        if self._descriptor is None:
            part = self.parts[-1]
            descriptor = self._files.open(part.path)
            try:
                self._files.truncate(descriptor, part.synced.position)
                self._files.write(descriptor, [encode_mark(part.synced)], MARK_AT)
                self._files.sync(descriptor)
            except OSError:
                self._files.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def _begin_part(self, now: Instant) -> None:
        """Close the last part and begin the next; the numbers are those of `docs/design/log.md`, "Roll"."""
        base = self.next_offset
        # 1. The old part ends on the disk exactly at its mark. A damaged one is left as it was found.
        if self.parts and not self.parts[-1].damage:
            self._finish_part()
        if self._descriptor is not None:
            self._files.close(self._descriptor)
            self._descriptor = None
        # 2. The new one has its header, and 3. its name, on the disk before any record.
        path = self.directory / f"{base:020d}{SUFFIX}"
        mark = Mark(HEADER_BYTES, base, Instant(0))
        self._files.delete(path)  # an earlier try that failed at 2 or 3; it holds no record
        descriptor = self._files.open(path, create=True)
        try:
            self._files.write(descriptor, [encode_header(base, now, mark)], 0)
            self._files.sync(descriptor)
            self._files.sync_directory(self.directory)
        except OSError:
            self._files.close(descriptor)
            self._files.delete(path)
            raise
        # 4. Now it counts.
        part = Part(path, base, now, mark)
        part.start_index()
        with self.lock:
            kept = tuple(old for old in self.parts if old.base_offset != base)
            self.parts = (*kept, part)
        self._descriptor, self._seal_first = descriptor, False
        self._cached_from = 0

    def _finish_part(self) -> None:
        try:
            self._files.sync(self._open_descriptor())
        except OSError as error:
            if not self._seal_first:
                raise
            # Its sync failed before and still does: the next part's name bounds it, recovery looks behind its mark.
            logger.error("%s: left as it is: %s", self.parts[-1].path, error)


def _base_offset(part: Part) -> int:
    return part.base_offset
