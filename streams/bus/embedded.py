"""The embedded log: part files and SQLite in one directory, one process, no services.

`docs/design/log.md` has the file format, the numbered procedures and the reasons.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from domain import topics as topic_list
from domain.bus import Consumer, Position, RebalanceListener, Record, TopicPartition, partition_for
from domain.clock import Clock, SystemClock
from domain.errors import BusUnavailable, InvalidInput
from domain.topics import MAX_RECORD_BYTES, Topic
from streams.bus.cursor import Cursor
from streams.bus.files import Files
from streams.bus.framing import Entry, pack_headers
from streams.bus.group import Group
from streams.bus.inflight import RECORD_BYTES, InFlight
from streams.bus.offsets import Commit, OffsetStore
from streams.bus.partition import Limits, PartitionLog
from streams.bus.upkeep import Upkeep
from streams.bus.waiting import Bell
from streams.bus.writer import Append, Outcome, Roll, Writer

IN_FLIGHT_BYTES = 32_000_000
"""Records handed to the writer and not yet durable; beyond it `publish` waits."""

PUBLISH_TIMEOUT_S = 10.0
"""How long `publish` waits for the disk before it gives up."""

_HEADER_ROOM_BYTES = 65_536
_READ_RECORDS = 500
_READ_BYTES = 4_000_000

logger = logging.getLogger(__name__)


class EmbeddedBus:
    """The log of one process; see `domain.bus.Bus`. Used on one event loop.

    Args:
        directory: Where it stands; made if missing.
        partitions: Partitions of topics that do not exist yet.
        topics: The topics it has.
        clock: Gives records their timestamps.
        files: The file system.
        limits: When parts are closed; by each topic's retention where None.
        in_flight_bytes: Most that waits for the disk.
        publish_timeout_s: Patience with the disk, seconds.
        upkeep_every_s: Pause between two looks at retention and compaction, seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        partitions: int,
        topics: Sequence[Topic] = topic_list.ALL,
        clock: Clock | None = None,
        files: Files | None = None,
        limits: Limits | None = None,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
        publish_timeout_s: float = PUBLISH_TIMEOUT_S,
        upkeep_every_s: float = 10.0,
    ) -> None:
        self._directory = directory
        self._wanted_partitions = partitions
        self._topics = topics
        self._clock = clock or SystemClock()
        self._files = files or Files()
        self._limits = limits
        self._upkeep_every_s = upkeep_every_s
        self._partitions: dict[str, int] = {}
        self._compacted = frozenset(topic.name for topic in topics if topic.compacted)
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._groups: dict[str, Group] = {}
        self._offsets = OffsetStore(directory / "log.db")
        self._readers = ThreadPoolExecutor(2, "liuhen-log-reader")
        self._writer = Writer(self._settle_soon)
        self._upkeep: Upkeep | None = None
        self._lock: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = False
        self._in_flight = InFlight(in_flight_bytes, publish_timeout_s)
        self._commits: list[tuple[Commit, asyncio.Future[None]]] = []  # one a waiting commit
        self._committing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Recover what is there, make what is missing; see the port.

        Raises:
            IntegrityError: A part cannot be read as one; says where. Damaged records do not prevent the start.
        """
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(self._readers, self._open_all)
        logs = list(self._logs.values())
        self._writer.start()
        self._upkeep = Upkeep(
            logs, self._files, self._clock, lambda now: self._writer.put(Roll(logs, now)), self._upkeep_every_s
        )
        self._upkeep.start()
        self._open = True

    async def close(self) -> None:
        """Finish what is in flight and let go; see the port."""
        if self._loop is None:
            return
        was_open, self._open = self._open, False
        for group in self._groups.values():
            await group.close()
        if self._committing is not None:
            await asyncio.wait({self._committing})
        if was_open:
            await self._loop.run_in_executor(self._readers, self._close_all)
        for log in self._logs.values():
            for bell in log.bells:
                bell.ring()
        await asyncio.sleep(0)  # what the writer settled last
        self._in_flight.close()
        self._readers.shutdown(wait=False)
        self._offsets.executor.shutdown(wait=False)
        self._unlock()

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic.

        Raises:
            InvalidInput: No such topic.
        """
        try:
            return self._partitions[topic]
        except KeyError:
            raise InvalidInput(f"topic: no topic {topic!r}", "topic") from None

    async def publish(
        self,
        topic: str,
        key: str | None,
        value: bytes | None,
        *,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """Append durably; see the port.

        Raises:
            InvalidInput: No such topic or partition, a record that is too large, or no key on a compacted topic.
        """
        self._require_open()
        log = self._log_for(topic, key, partition)
        if key is None and value is None:
            raise InvalidInput("value: a record has a key or a value", "value")
        packed = pack_headers(headers) if headers else b""
        size = len(value or b"") + len(packed) + RECORD_BYTES
        if size > MAX_RECORD_BYTES + _HEADER_ROOM_BYTES:
            raise InvalidInput(f"value: {size} bytes are more than a record may have ({MAX_RECORD_BYTES})", "value")
        if self._in_flight.full(size):
            await self._in_flight.wait(size)
        self._require_open()
        done = self._in_flight.enter(size)
        entry = Entry(
            self._clock.now(), None if key is None else key.encode(), value, packed, len(headers) if headers else 0
        )
        self._writer.put(Append(log, entry, done, size))
        return await done

    async def subscribe(
        self,
        group: str,
        topics: Sequence[str],
        *,
        on_gained: RebalanceListener | None = None,
        on_lost: RebalanceListener | None = None,
    ) -> Consumer:
        """Join a consumer group. The listeners run inside `take`, so never beside the work on a batch."""
        self._require_open()
        for topic in topics:
            self.partitions(topic)
        if group not in self._groups:
            self._groups[group] = Group(group, self._logs, self._commit, self._committed, self._readers)
        return self._groups[group].join(topics, on_gained, on_lost)

    async def read(
        self, partition: TopicPartition, start: int, stop: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Record]:
        """Read without a group; see the port.

        Raises:
            IntegrityError: A record is damaged; says where.
        """
        log = self._log_at(partition)
        if stop is None and not follow:
            stop = log.next_offset
        cursor, bell = Cursor(log, start, self._readers), Bell()
        log.bells.add(bell)
        try:
            while stop is None or cursor.offset < stop:
                self._require_open()
                bell.quiet()
                records = await self._fetch(cursor, stop)
                for record in records:
                    yield record
                if not records and (not follow or not await bell.wait(None)):
                    return
        finally:
            log.bells.discard(bell)

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return the oldest kept offset and the next one."""
        log = self._log_at(partition)
        return log.first_offset, log.next_offset

    # --- on the event loop ---

    async def _fetch(self, cursor: Cursor, stop: int | None) -> list[Record]:
        try:
            return await cursor.fetch(_READ_RECORDS, _READ_BYTES, stop)
        except OSError as error:
            raise BusUnavailable(f"cannot read {cursor.log.directory}: {error}") from error

    def _require_open(self) -> None:
        if not self._open:
            raise BusUnavailable("the log is closed")

    def _log_for(self, topic: str, key: str | None, partition: int | None) -> PartitionLog:
        if key is None and topic in self._compacted:
            raise InvalidInput(f"key: topic {topic!r} is compacted, its records need one", "key")
        if partition is None:
            partition = 0 if key is None else partition_for(key, self.partitions(topic))
        return self._log_at(TopicPartition(topic, partition))

    def _log_at(self, place: TopicPartition) -> PartitionLog:
        try:
            return self._logs[place]
        except KeyError:
            raise InvalidInput(f"partition: no {place.topic}-{place.partition}", "partition") from None

    def _settle_soon(self, outcomes: list[tuple[Append, Outcome]]) -> None:
        """In the writer's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: list[tuple[Append, Outcome]]) -> None:
        for append, outcome in outcomes:
            self._in_flight.settle(append.done, append.size_bytes, outcome)
        for log in {append.log for append, _ in outcomes}:
            for bell in log.bells:
                bell.ring()

    async def _committed(self, group: str) -> dict[TopicPartition, int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._offsets.executor, self._offsets.committed, group)

    async def _commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit with whoever else commits while the disk is busy: one transaction, one sync."""
        self._require_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._commits.append(((group, dict(offsets)), done))
        if self._committing is None or self._committing.done():
            self._committing = loop.create_task(self._commit_all())
        await done

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._commits:
            waiting, self._commits = self._commits, []
            error: BusUnavailable | None = None
            try:
                commits = [commit for commit, _ in waiting]
                await loop.run_in_executor(self._offsets.executor, self._offsets.commit, commits)
            except BusUnavailable as failure:
                error = failure
            for _, done in waiting:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)

    # --- in a thread ---

    def _open_all(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock_directory()
            known = self._offsets.open([topic.name for topic in self._topics], self._wanted_partitions)
            self._partitions = {topic.name: known[topic.name] for topic in self._topics}
            for topic in self._topics:
                for number in range(self._partitions[topic.name]):
                    directory = self._directory / topic.name / str(number)
                    log = PartitionLog(directory, topic, number, self._files, self._limits)
                    log.open()
                    self._logs[TopicPartition(topic.name, number)] = log
        except OSError as error:
            self._unlock()
            raise BusUnavailable(f"{self._directory}: {error}") from error
        except BaseException:
            self._unlock()
            raise

    def _close_all(self) -> None:
        if self._upkeep is not None:
            self._upkeep.stop()
        self._writer.stop()
        for log in self._logs.values():
            try:
                log.close()
            except OSError as error:
                logger.error("%s: %s", log.directory, error)  # nothing of it was acknowledged
        self._offsets.close()

    def _lock_directory(self) -> None:
        path = self._directory / "lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text().strip() or "unknown"
            raise BusUnavailable(f"{self._directory}: in use by another process (pid {holder})") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
