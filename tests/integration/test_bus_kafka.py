"""The Kafka log when its broker dies or hangs: nothing acknowledged is lost, and it goes on by itself."""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from domain.bus import TopicPartition
from domain.errors import BusUnavailable
from domain.topics import Topic
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from tests.services.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


class Traffic:
    """Publishes numbers, one after the other, and reads them in a group, whatever happens."""

    def __init__(self, bus: KafkaBus, topic: str) -> None:
        self.acknowledged: dict[int, int] = {}
        self.taken: list[int] = []
        self.refused = 0
        self._bus = bus
        self._topic = topic
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._take())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes

    async def more(self) -> None:
        """Wait until more has been acknowledged, and taken, than now."""
        acknowledged, taken = len(self.acknowledged), len(self.taken)
        async with asyncio.timeout(60):
            while len(self.acknowledged) < acknowledged + 10 or len(self.taken) < taken + 10:  # noqa: ASYNC110 - tasks count
                await asyncio.sleep(0.02)

    async def _publish(self) -> None:
        number = 0
        while True:
            try:
                position = await self._bus.publish(self._topic, "k", b"%d" % number)
                self.acknowledged[position.offset] = number
            except BusUnavailable:
                self.refused += 1
            number += 1
            await asyncio.sleep(0.01)

    async def _take(self) -> None:
        consumer = await self._bus.subscribe(f"{self._topic}-group", [self._topic])
        while True:
            for record in await consumer.take(within_s=0.5):
                self.taken.append(int(record.value or b""))


@pytest.mark.parametrize("client", ["kafka-python", "librdkafka"])
@pytest.mark.parametrize("fault", ["killed", "paused", "gone for longer than a publisher waits"])
async def test_nothing_acknowledged_is_lost(kafka_factory: Callable[..., KafkaServer], client: str, fault: str) -> None:
    server = await asyncio.to_thread(kafka_factory)
    topic = f"t-{uuid.uuid4().hex[:6]}"
    patience_s = 2.0 if fault.startswith("gone") else 60.0
    bus = KafkaBus(
        KafkaSettings(server.bootstrap, "outage", publish_timeout_s=patience_s),
        partitions=1,
        topics=[Topic(topic, None)],
        large=frozenset({topic} if client == "librdkafka" else ()),
    )
    await bus.start()
    traffic = Traffic(bus, topic)
    traffic.start()
    await traffic.more()
    if fault == "paused":
        server.pause()
        await asyncio.sleep(4)  # the outage itself
        server.resume()
    else:
        await asyncio.to_thread(server.kill)
        while fault.startswith("gone") and not traffic.refused:  # noqa: ASYNC110 - tasks count
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
    await traffic.more()
    await traffic.stop()
    stored = {r.offset: int(r.value or b"") async for r in bus.read(TopicPartition(topic, 0), 0)}
    await bus.close()
    assert {offset: stored.get(offset) for offset in traffic.acknowledged} == traffic.acknowledged
    numbers = [stored[offset] for offset in sorted(stored)]
    assert numbers == sorted(set(numbers))
    assert set(traffic.taken) <= set(numbers)
    assert bool(traffic.refused) == fault.startswith("gone")


async def test_no_broker_is_said_in_time() -> None:
    bus = KafkaBus(KafkaSettings("127.0.0.1:1", "nobody", publish_timeout_s=1.0), partitions=1)
    async with asyncio.timeout(20):
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1"):
            await bus.start()
        await bus.close()
