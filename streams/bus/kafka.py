"""The log on Kafka: kafka-python for small records, librdkafka for topic `media`, behind one port.

`docs/design/log.md` says why there are two clients, and which outage each setting survives. Both are loaded by the
thread that connects: a process that starts has better to do meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from domain import topics as topic_list
from domain.bus import Consumer, Position, RebalanceListener, Record, TopicPartition, partition_for
from domain.clock import Clock, SystemClock
from domain.errors import BusUnavailable, InvalidInput
from domain.topics import MAX_RECORD_BYTES, Topic
from streams.bus.inflight import RECORD_BYTES, InFlight
from streams.bus.kafka_consumer import KafkaConsumer
from streams.bus.kafka_driver import KafkaSettings, Message, Outcome, ProducerDriver

if TYPE_CHECKING:
    from streams.bus.kafka_python import Administration, SmallConsumer
    from streams.bus.kafka_rd import MediaConsumer

IN_FLIGHT_BYTES = 32_000_000
"""Records handed to the clients and not acknowledged; beyond it `publish` waits."""

_HEADER_ROOM_BYTES = 65_536

Answer = TypeVar("Answer")


class KafkaBus:
    """The log on a Kafka cluster; see `domain.bus.Bus`. Used on one event loop.

    Args:
        settings: Where the brokers are, and how long each thing may take.
        partitions: Partitions of topics that do not exist yet.
        topics: The topics it makes and knows.
        large: Topics whose records go through librdkafka.
        clock: Gives records their timestamps.
        in_flight_bytes: Most that waits for acknowledgement.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        partitions: int,
        topics: Sequence[Topic] = topic_list.ALL,
        large: frozenset[str] = frozenset({topic_list.MEDIA.name}),
        clock: Clock | None = None,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
    ) -> None:
        self._settings = settings
        self._wanted_partitions = partitions
        self._topics = topics
        self._large = large
        self._clock = clock or SystemClock()
        self._compacted = frozenset(topic.name for topic in topics if topic.compacted)
        self._in_flight = InFlight(in_flight_bytes, settings.publish_timeout_s)
        self._threads = ThreadPoolExecutor(4, "liuhen-kafka")
        self._partitions: dict[str, int] = {}
        self._consumers: set[KafkaConsumer] = set()
        self._administration: Administration | None = None
        self._small: ProducerDriver | None = None
        self._media: ProducerDriver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = False

    async def start(self) -> None:
        """Connect, and make the topics that are missing; see the port."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(self._threads, self._connect)
        self._open = True

    async def close(self) -> None:
        """Finish what is in flight and let go; see the port."""
        self._open = False
        await asyncio.gather(*(consumer.close() for consumer in list(self._consumers)))
        if self._loop is not None:
            parts = [part for part in (self._small, self._media, self._administration) if part is not None]
            ends = [self._loop.run_in_executor(self._threads, part.close) for part in parts]
            await asyncio.gather(*ends, return_exceptions=True)  # a broker that is away takes nothing with it
        await asyncio.sleep(0)
        self._in_flight.close()
        self._threads.shutdown(wait=False)

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
        place = self._place(topic, key, partition)
        if key is None and value is None:
            raise InvalidInput("value: a record has a key or a value", "value")
        listed = list(headers.items()) if headers else []
        size = len(value or b"") + sum(len(name) + len(text) for name, text in listed) + RECORD_BYTES
        if size > MAX_RECORD_BYTES + _HEADER_ROOM_BYTES:
            raise InvalidInput(f"value: {size} bytes are more than a record may have ({MAX_RECORD_BYTES})", "value")
        if self._in_flight.full(size):
            await self._in_flight.wait(size)
        producer = self._media if topic in self._large else self._small
        if not self._open or producer is None:
            raise BusUnavailable("the log is closed")
        done = self._in_flight.enter(size)
        key_bytes = None if key is None else key.encode()
        message = Message(place, key_bytes, value, listed, int(self._clock.now()))
        producer.send(message, lambda outcome: self._settle_soon(done, size, outcome))
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
        for topic in topics:
            self.partitions(topic)
        driver = await self._driver(topics, group)
        consumer = KafkaConsumer(driver, self._settings.buffer_bytes, on_gained, on_lost)
        await self._in_thread(lambda: driver.join(topics, consumer))
        consumer.start()
        self._consumers = {known for known in self._consumers if not known.closed} | {consumer}
        return consumer

    async def read(
        self, partition: TopicPartition, start: int, stop: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Record]:
        """Read without a group; see the port."""
        self._place(partition.topic, "", partition.partition)
        first, end = await self.bounds(partition)
        if stop is None and not follow:
            stop = end
        start = max(start, first)
        if stop is not None and start >= stop:
            return
        driver = await self._driver([partition.topic], None)
        await self._in_thread(lambda: driver.assign(partition, start))
        consumer = KafkaConsumer(driver, self._settings.buffer_bytes // 4)
        self._consumers.add(consumer)
        consumer.start(reads=partition)
        try:
            while stop is None or start < stop:
                self._require_open()
                for record in await consumer.take(within_s=0.2):
                    start = record.offset + 1
                    if stop is not None and record.offset >= stop:
                        return
                    yield record
                if consumer.drained and consumer.position is not None:
                    start = max(start, consumer.position)  # holes that compaction left
        finally:
            self._consumers.discard(consumer)
            await consumer.close()

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return the oldest kept offset and the next one."""
        self._place(partition.topic, "", partition.partition)
        administration = self._administration
        if administration is None:
            raise BusUnavailable("the log is closed")
        return await self._in_thread(lambda: administration.bounds(partition))

    def _place(self, topic: str, key: str | None, partition: int | None) -> TopicPartition:
        count = self.partitions(topic)
        if key is None and topic in self._compacted:
            raise InvalidInput(f"key: topic {topic!r} is compacted, its records need one", "key")
        if partition is None:
            partition = 0 if key is None else partition_for(key, count)
        if not 0 <= partition < count:
            raise InvalidInput(f"partition: no {topic}-{partition}", "partition")
        return TopicPartition(topic, partition)

    async def _driver(self, topics: Sequence[str], group: str | None) -> SmallConsumer | MediaConsumer:
        self._require_open()
        from streams.bus import kafka_python, kafka_rd  # noqa: PLC0415 - as in `_connect`

        make = kafka_rd.MediaConsumer if self._large.intersection(topics) else kafka_python.SmallConsumer
        return await self._in_thread(lambda: make(self._settings, group))

    def _require_open(self) -> None:
        if not self._open:
            raise BusUnavailable("the log is closed")

    async def _in_thread(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _settle_soon(self, done: asyncio.Future[Position], size_bytes: int, outcome: Outcome) -> None:
        """In the clients' threads."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._in_flight.settle, done, size_bytes, outcome)

    def _connect(self) -> None:
        from streams.bus import kafka_python, kafka_rd  # noqa: PLC0415 - loaded here, in this thread

        administration = kafka_python.Administration(self._settings)
        try:
            self._partitions = administration.ensure(self._topics, self._wanted_partitions)
        except BaseException:
            administration.close()
            raise
        self._administration = administration
        self._small = kafka_python.SmallProducer(self._settings)
        self._media = kafka_rd.MediaProducer(self._settings)
