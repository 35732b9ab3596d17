"""A log that counts how its readers get on: `liuhen_progress_total`, by which whoever watches tells life from standing.

A process whose work hangs may go on answering `/healthz`. Each of its loops takes from the log, again and again, so a
loop that stands takes no more. In `events` there is something new every second (the ticks): who reads it gets on only
when records come. In other topics there may be nothing for hours: asking is progress there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence

from domain.bus import Bus, Consumer, Position, RebalanceListener, Record, TopicPartition
from domain.topics import EVENTS
from streams.metrics import PROGRESS

_OWN_NAME = re.compile(r"-[0-9a-f-]{8,}$")
"""What makes a group one process's own; kept out of the label, which would grow with every start."""


class CountedBus:
    """Any log; everything is passed on to it.

    Args:
        bus: The log itself.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self) -> None:
        """See `Bus.start`."""
        await self._bus.start()

    async def close(self) -> None:
        """See `Bus.close`."""
        await self._bus.close()

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        return self._bus.partitions(topic)

    async def publish(
        self,
        topic: str,
        key: str | None,
        value: bytes | None,
        *,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """See `Bus.publish`."""
        return await self._bus.publish(topic, key, value, headers=headers, partition=partition)

    async def subscribe(
        self,
        group: str,
        topics: Sequence[str],
        *,
        on_gained: RebalanceListener | None = None,
        on_lost: RebalanceListener | None = None,
    ) -> Consumer:
        """See `Bus.subscribe`; the consumer is counted under the group's name."""
        consumer = await self._bus.subscribe(group, topics, on_gained=on_gained, on_lost=on_lost)
        return CountedConsumer(consumer, _OWN_NAME.sub("", group), has_ticks=EVENTS.name in topics)

    def read(
        self, partition: TopicPartition, start: int, stop: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Record]:
        """See `Bus.read`."""
        return self._bus.read(partition, start, stop, follow=follow)

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """See `Bus.bounds`."""
        return await self._bus.bounds(partition)


class CountedConsumer:
    """One member of a group; counts each `take` that is progress.

    Args:
        consumer: The member itself.
        reader: Label of its count.
        has_ticks: Something new comes every second, as long as it holds a partition.
    """

    def __init__(self, consumer: Consumer, reader: str, *, has_ticks: bool) -> None:
        self._consumer = consumer
        self._count = PROGRESS.labels(reader)
        self._has_ticks = has_ticks

    async def take(self, max_records: int = 500, within_s: float = 0.05, max_bytes: int = 32_000_000) -> list[Record]:
        """See `Consumer.take`."""
        records = await self._consumer.take(max_records, within_s, max_bytes)
        if records or not self._has_ticks or self._has_nothing_to_read():
            self._count.inc()
        return records

    def _has_nothing_to_read(self) -> bool:
        return self._consumer.settled() and not self._consumer.assigned()

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """See `Consumer.commit`."""
        await self._consumer.commit(next_offsets)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Consumer.seek`."""
        await self._consumer.seek(partition, offset)

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return self._consumer.assigned()

    def settled(self) -> bool:
        """See `Consumer.settled`."""
        return self._consumer.settled()

    async def close(self) -> None:
        """See `Consumer.close`."""
        await self._consumer.close()
