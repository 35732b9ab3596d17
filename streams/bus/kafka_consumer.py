"""A blocking Kafka consumer in a thread of its own, bridged to the event loop with a bounded buffer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from domain.bus import RebalanceListener, Record, TopicPartition
from domain.errors import BusUnavailable, InvalidInput
from streams.bus.handover import Handover
from streams.bus.kafka_driver import ConsumerDriver
from streams.bus.waiting import Bell

_POLL_S = 0.1  # how long a command may have to wait for the fetch under way
_POLL_RECORDS = 500
_RETRY_S = 0.5

logger = logging.getLogger(__name__)


class KafkaConsumer:
    """A member of a group, or a reader of one place; see `domain.bus.Consumer`. One task uses it at a time.

    Listeners run inside `take`. A generation is counted up whenever partitions are lost: what was fetched in an
    older one never reaches the application, because the new one begins again at the committed offsets.

    Args:
        driver: The library's consumer, not yet joined.
        buffer_bytes: Fetched ahead at most, but for one more fetch; then fetching pauses.
        on_gained: See the port.
        on_lost: See the port.
    """

    def __init__(
        self,
        driver: ConsumerDriver,
        buffer_bytes: int,
        on_gained: RebalanceListener | None = None,
        on_lost: RebalanceListener | None = None,
    ) -> None:
        self._driver = driver
        self._buffer_bytes = buffer_bytes
        self._on_gained = on_gained
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._buffer: deque[Record] = deque()
        self._buffered_bytes = 0
        self._generation = 0  # written by the driver's threads, compared on the loop
        self._held: frozenset[TopicPartition] = frozenset()
        self._ready: frozenset[TopicPartition] = frozenset()
        self._settled = False
        self._seeking: dict[TopicPartition, int] = {}
        self._failure: BusUnavailable | None = None
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()  # one an awaited `seek`
        self._committer = ThreadPoolExecutor(1, "liuhen-kafka-commit")
        self._closed = False
        self._position: int | None = None
        self._reads: TopicPartition | None = None
        self._losing: asyncio.Task[None] | None = None
        self._bell = Bell()
        self._handover = Handover()
        self._handover.wake = self._bell.ring
        self._thread = threading.Thread(target=self._run, name="liuhen-kafka-fetch", daemon=True)

    def start(self, *, reads: TopicPartition | None = None) -> None:
        """Begin to fetch; a reader without a group says what it `reads`."""
        self._reads = reads
        if reads is not None:
            self._held = self._ready = frozenset({reads})
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it has left."""
        return self._closed

    @property
    def drained(self) -> bool:
        """Whether everything fetched has been taken."""
        return not self._buffer

    @property
    def position(self) -> int | None:
        """Of a reader: everything before this offset has been put into the buffer."""
        return self._position

    async def take(self, max_records: int = 500, within_s: float = 0.05, max_bytes: int = 32_000_000) -> list[Record]:
        """Return what is there; see the port."""
        deadline = self._loop.time() + within_s
        while not self._closed:
            self._bell.quiet()
            await self._handover.run_waiting()
            records = self._drain(max_records, max_bytes)
            if records:
                await asyncio.sleep(0)
                return records
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if not await self._bell.wait(deadline - self._loop.time()):
                return []
        raise BusUnavailable("the consumer is closed")

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets; see the port."""
        held = {place: offset for place, offset in next_offsets.items() if place in self._held}
        if held and not self._closed:
            await self._loop.run_in_executor(self._committer, self._driver.commit, held)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read from `offset` next; see the port.

        Raises:
            InvalidInput: The partition is not held.
        """
        if partition not in self._held:
            raise InvalidInput(f"partition: {partition.topic}-{partition.partition} is not held", "partition")
        done: asyncio.Future[None] = self._loop.create_future()
        self._seeking[partition] = self._seeking.get(partition, 0) + 1
        self._discard(frozenset({partition}))
        self._commands.put(lambda: self._seek(partition, offset, done))
        await done

    def assigned(self) -> frozenset[TopicPartition]:
        """Return the partitions held now."""
        return self._held

    def settled(self) -> bool:
        """Whether the group has said what is held; see the port."""
        return self._settled

    async def close(self) -> None:
        """Leave the group at once."""
        if self._closed:
            return
        self._closed = True
        self._handover.give_up()
        self._bell.ring()
        if self._thread.ident is not None:
            await self._loop.run_in_executor(self._committer, self._thread.join)
        self._committer.shutdown(wait=False)
        self._held = self._ready = frozenset()

    # --- the listener: in the driver's threads ---

    def gained(self, places: frozenset[TopicPartition]) -> None:
        """Take partitions over."""
        self._call(self._gain, places)

    def lost(self, places: frozenset[TopicPartition], passed_on: Callable[[], None]) -> None:
        """Give partitions up once the application's listener has been told."""
        self._generation += 1
        if self._closed or not self._call(self._lose, places, passed_on):
            passed_on()

    # --- on the event loop ---

    def _gain(self, places: frozenset[TopicPartition]) -> None:
        self._held |= places
        self._settled = True
        if places:
            self._handover.post(lambda: self._welcome(places))

    async def _welcome(self, places: frozenset[TopicPartition]) -> None:
        held = places & self._held
        try:
            if self._on_gained is not None and held:
                await self._on_gained(held)
        except BaseException:
            self._handover.post(lambda: self._welcome(held))  # not welcomed yet: the next take tries again
            raise
        self._ready |= held & self._held
        self._bell.ring()

    def _lose(self, places: frozenset[TopicPartition], passed_on: Callable[[], None]) -> None:
        self._settled = False
        self._ready -= places
        self._discard(places)
        task = self._loop.create_task(self._say_lost(places, passed_on))
        task.add_done_callback(_log_failure)
        self._losing = task  # the loop itself holds tasks only weakly

    async def _say_lost(self, places: frozenset[TopicPartition], passed_on: Callable[[], None]) -> None:
        try:
            if not self._closed and self._on_lost is not None:
                listener = self._on_lost
                await self._handover.request(lambda: listener(places))
        finally:
            self._held -= places
            passed_on()

    def _deliver(self, generation: int, records: list[Record], position: int | None) -> None:
        if generation != self._generation:
            return
        self._position = position
        for record in records:
            if (record.topic, record.partition) not in self._seeking:
                self._buffer.append(record)
                self._buffered_bytes += _size(record)
        self._bell.ring()

    def _drain(self, max_records: int, max_bytes: int) -> list[Record]:
        records: list[Record] = []
        while self._buffer and len(records) < max_records:
            record = self._buffer[0]
            if (record.topic, record.partition) not in self._ready:
                break  # its partition is still to be welcomed, which the next round does
            max_bytes -= len(record.value or b"")
            if records and max_bytes < 0:
                break
            records.append(self._buffer.popleft())
            self._buffered_bytes -= _size(record)
        return records

    def _discard(self, places: frozenset[TopicPartition]) -> None:
        kept = [record for record in self._buffer if (record.topic, record.partition) not in places]
        self._buffer = deque(kept)
        self._buffered_bytes = sum(_size(record) for record in kept)

    def _sought(self, partition: TopicPartition, done: asyncio.Future[None], error: BusUnavailable | None) -> None:
        self._seeking[partition] -= 1
        if not self._seeking[partition]:
            del self._seeking[partition]
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _fail(self, error: BusUnavailable) -> None:
        self._failure = error
        self._bell.ring()

    # --- in the fetching thread ---

    def _run(self) -> None:
        paused = False
        while not self._closed:
            try:
                self._obey()
                paused = self._regulate(paused)
                self._fetch()
            except BusUnavailable as error:
                self._call(self._fail, error)
                threading.Event().wait(_RETRY_S)
        try:
            self._driver.close()
        except BusUnavailable as error:
            logger.warning("%s; the group notices after its session timeout", error)

    def _obey(self) -> None:
        try:
            while True:
                self._commands.get_nowait()()
        except Empty:
            return

    def _regulate(self, paused: bool) -> bool:
        """Pause when the buffer is full, go on when half of it has been taken."""
        if not paused and self._buffered_bytes >= self._buffer_bytes:
            self._driver.pause(on=True)
            return True
        if paused and self._buffered_bytes < self._buffer_bytes // 2:
            self._driver.pause(on=False)
            return False
        if paused:
            self._driver.pause(on=True)  # partitions gained meanwhile too
        return paused

    def _fetch(self) -> None:
        generation = self._generation
        records = self._driver.poll(_POLL_S, _POLL_RECORDS)
        if records and generation != self._generation:
            # A rebalance in between: nobody can say to which assignment these belong. Begin again where it did.
            places = sorted({TopicPartition(record.topic, record.partition) for record in records} & self._held)
            self._driver.rewind(places)
            return
        position = self._driver.position(self._reads) if self._reads is not None else None
        if records or position != self._position:
            self._call(self._deliver, generation, records, position)

    def _seek(self, partition: TopicPartition, offset: int, done: asyncio.Future[None]) -> None:
        error = None
        try:
            self._driver.seek(partition, offset)
        except BusUnavailable as failure:
            error = failure
        self._call(self._sought, partition, done, error)

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Have the loop do something; False when it is gone."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True


def _size(record: Record) -> int:
    return len(record.value or b"") + 256


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a rebalance listener failed", exc_info=task.exception())
