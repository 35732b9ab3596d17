"""Retention and compaction of the embedded log, in a thread of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from domain.bus import Record
from domain.clock import Clock, Instant
from domain.errors import IntegrityError
from streams.bus.cursor import Cursor
from streams.bus.files import Files
from streams.bus.framing import HEADER_BYTES, Mark, encode_header, encode_prefix, entry_of
from streams.bus.part import Part
from streams.bus.partition import PartitionLog
from streams.bus.recovery import DRAFT_SUFFIX

TOMBSTONE_MS = 24 * 3_600_000
"""How long a tombstone outlives compaction, so that readers who are behind still see the deletion."""

_BATCH_RECORDS = 1000
_BATCH_BYTES = 4_000_000

logger = logging.getLogger(__name__)


def expire(log: PartitionLog, files: Files, now: Instant) -> None:
    """Drop closed parts all of whose records are past the topic's retention, oldest first.

    Raises:
        OSError: As the kernel gave it; what is dropped already stays dropped.
    """
    if log.topic.retention_s is None:
        return
    horizon = now - log.topic.retention_s * 1000
    with log.lock:
        old = _leading_older(log.parts[:-1], horizon)
        log.parts = log.parts[len(old) :]
    for part in old:
        files.delete(part.path)
    if old:
        files.sync_directory(log.directory)


def _leading_older(parts: Sequence[Part], horizon: int) -> list[Part]:
    older: list[Part] = []
    for part in parts:
        if part.synced.newest >= horizon:
            break
        older.append(part)
    return older


def worth_compacting(log: PartitionLog) -> bool:
    """Whether enough has been closed since the last compaction."""
    if not log.topic.compacted or any(part.damage for part in log.parts):
        return False  # damage is for a person to look at, not to be copied over
    closed = log.parts[:-1]
    fresh = sum(part.synced.position for part in closed if not part.compacted)
    done = sum(part.synced.position for part in closed if part.compacted)
    return fresh * 2 >= done and fresh > 0


def compact(log: PartitionLog, files: Files, now: Instant) -> None:
    """Put all closed parts into one that keeps each key's newest record; see `docs/design/log.md`, "Compact".

    Raises:
        IntegrityError: A record is damaged; nothing is changed.
        OSError: As the kernel gave it; nothing is lost.
    """
    parts = log.parts
    closed, end_offset = parts[:-1], parts[-1].base_offset
    # 1. The newest offset of each key, those in the open part included.
    newest = {record.key: record.offset for record in _records(log, log.next_offset)}
    # 2. The survivors, with their own offsets, into a draft; 3. which is on the disk before 4. it takes its place.
    target = closed[0]
    draft = target.path.with_suffix(DRAFT_SUFFIX)
    files.delete(draft)
    kept = (
        record
        for record in _records(log, end_offset)
        if newest[record.key] == record.offset and not _is_spent(record, now)
    )
    mark = _write_draft(_Merge(draft, target.base_offset, end_offset, now), kept, files)
    files.rename(draft, target.path)
    files.sync_directory(log.directory)
    # 5. Readers see it from now on; 6. the others are not needed any more.
    merged = Part(target.path, target.base_offset, now, mark, compacted=True)
    with log.lock:
        log.parts = (merged, *(part for part in log.parts if part.base_offset >= end_offset))
    for part in closed[1:]:
        files.delete(part.path)
    files.sync_directory(log.directory)


def _is_spent(record: Record, now: Instant) -> bool:
    return record.value is None and now - record.timestamp > TOMBSTONE_MS


def _records(log: PartitionLog, stop: int) -> Iterator[Record]:
    cursor = Cursor(log, log.first_offset)
    while got := cursor.fetch_blocking(_BATCH_RECORDS, _BATCH_BYTES, stop):
        yield from got


class _Merge(NamedTuple):
    path: Path
    base_offset: int
    end_offset: int
    created: Instant


def _write_draft(merge: _Merge, records: Iterator[Record], files: Files) -> Mark:
    """Write a compacted part and sync it; its header and mark come last."""
    position, newest = HEADER_BYTES, Instant(0)
    descriptor = files.open(merge.path, create=True)
    try:
        for record in records:
            prefix = encode_prefix(record.offset, entry_of(record))
            position = files.write(descriptor, [prefix, record.value or b""], position)
            newest = record.timestamp
        mark = Mark(position, merge.end_offset, newest)
        files.write(descriptor, [encode_header(merge.base_offset, merge.created, mark, compacted=True)], 0)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    return mark


class Upkeep:
    """Looks after all partitions, at once and then every `every_s`.

    Args:
        logs: The partitions.
        files: The file system.
        clock: Tells their age.
        roll: Asks the writer to close parts that are past their age.
        every_s: Pause between two rounds, seconds.
    """

    def __init__(
        self,
        logs: Sequence[PartitionLog],
        files: Files,
        clock: Clock,
        roll: Callable[[Instant], None],
        every_s: float,
    ) -> None:
        self._logs = logs
        self._files = files
        self._clock = clock
        self._roll = roll
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liuhen-log-upkeep", daemon=True)

    def start(self) -> None:
        """Begin, with a round at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the partition in hand; blocks."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            now = self._clock.now()
            self._roll(now)
            for log in self._logs:
                if not self._stop.is_set():
                    self._look_after(log, now)
            if self._stop.wait(self._every_s):
                return

    def _look_after(self, log: PartitionLog, now: Instant) -> None:
        try:
            expire(log, self._files, now)
            if worth_compacting(log):
                compact(log, self._files, now)
        except (OSError, IntegrityError) as error:
            logger.error("%s: %s; trying again in %.0f s", log.directory, error, self._every_s)
