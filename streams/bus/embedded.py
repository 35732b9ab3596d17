"""The embedded log: part files and SQLite in one directory, one process, no services.

`docs/design/log.md` has the file format, the numbered procedures and the reasons.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections import deque
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
from streams.bus.offsets import Commit, OffsetStore
from streams.bus.partition import Limits, PartitionLog
from streams.bus.upkeep import Upkeep
from streams.bus.waiting import Bell
from streams.bus.writer import Append, Outcome, Roll, Writer

IN_FLIGHT_BYTES = 32_000_000
"""Records handed to the writer and not yet durable; beyond it `publish` waits."""

PUBLISH_TIMEOUT_S = 10.0
"""How long `publish` waits for the disk before it gives up."""

_ENTRY_BYTES = 256  # what a record takes in memory beside its bytes
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
        self._in_flight_limit = in_flight_bytes
        self._publish_timeout_s = publish_timeout_s
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
        self._in_flight_bytes = 0
        self._in_flight: deque[tuple[float, asyncio.Future[Position]]] = deque()  # bounded by the bytes in flight
        self._no_room: deque[tuple[int, asyncio.Future[None]]] = deque()  # one a waiting publish; each times out
        self._timer: asyncio.TimerHandle | None = None
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
        if self._timer is not None:
            self._timer.cancel()
        for log in self._logs.values():
            for bell in log.bells:
                bell.ring()
        await asyncio.sleep(0)  # what the writer settled last
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
        log = self._log_for(topic, key, partition)
        packed = pack_headers(headers) if headers else b""
        size = len(value or b"") + len(packed) + _ENTRY_BYTES
        if size > MAX_RECORD_BYTES + _HEADER_ROOM_BYTES:
            raise InvalidInput(f"value: {size} bytes are more than a record may have ({MAX_RECORD_BYTES})", "value")
        if self._no_room or (self._in_flight_bytes and self._in_flight_bytes + size > self._in_flight_limit):
            await self._wait_for_room(size)
        if not self._open or self._loop is None:
            raise BusUnavailable("the log is closed")
        done: asyncio.Future[Position] = self._loop.create_future()
        self._in_flight_bytes += size
        self._in_flight.append((self._loop.time() + self._publish_timeout_s, done))
        if self._timer is None:
            self._timer = self._loop.call_later(self._publish_timeout_s / 4, self._give_up_late)
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

    async def _wait_for_room(self, size: int) -> None:
        """Wait in line, so that the order of the calls stays."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._no_room.append((size, waiter))
        try:
            async with asyncio.timeout(self._publish_timeout_s):
                await waiter
        except TimeoutError:
            raise BusUnavailable(f"{self._in_flight_bytes} bytes wait for the disk; no room came in time") from None
        finally:
            self._no_room.remove((size, waiter))
            if waiter.cancelled():
                self._let_in()

    def _let_in(self) -> None:
        """Wake as many as there is room for; they take their room when they run, in the same order."""
        taken_bytes = self._in_flight_bytes
        for size, waiter in self._no_room:
            if taken_bytes and taken_bytes + size > self._in_flight_limit:
                return
            taken_bytes += size
            if not waiter.done():
                waiter.set_result(None)

    def _settle_soon(self, outcomes: list[tuple[Append, Outcome]]) -> None:
        """In the writer's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: list[tuple[Append, Outcome]]) -> None:
        logs = set()
        for append, outcome in outcomes:
            self._in_flight_bytes -= append.size_bytes
            logs.add(append.log)
            if append.done.done():
                continue
            if isinstance(outcome, BusUnavailable):
                append.done.set_exception(outcome)
            else:
                append.done.set_result(outcome)
        while self._in_flight and self._in_flight[0][1].done():
            self._in_flight.popleft()
        for log in logs:
            for bell in log.bells:
                bell.ring()
        if self._no_room:
            self._let_in()

    def _give_up_late(self) -> None:
        """Tell the publishers whose time is over. Their records may still be written: at least once."""
        self._timer = None
        if self._loop is None:
            return
        now = self._loop.time()
        while self._in_flight and (self._in_flight[0][0] <= now or self._in_flight[0][1].done()):
            _, done = self._in_flight.popleft()
            if not done.done():
                done.set_exception(BusUnavailable(f"not on the disk after {self._publish_timeout_s:g} s"))
        if self._in_flight:
            self._timer = self._loop.call_later(self._publish_timeout_s / 4, self._give_up_late)

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
