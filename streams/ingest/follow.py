"""Reading whole topics as long as the process lives: how ingest knows recorders and sessions.

One consumer in a group of its own that never commits: it holds every partition, for the price of one connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

from domain.bus import Bus, Consumer, Record, TopicPartition
from domain.errors import Unavailable

RETRY_S: Final = 1.0
"""Wait before reading on from a log that was away."""
TAKE_WITHIN_S: Final = 1.0
_log = logging.getLogger(__name__)


class Follower:
    """Hands every record of some topics to functions, in order within a partition.

    Args:
        bus: The log.
        takers: Function by topic, called with each record.
        starts: Where to begin; the oldest kept where absent.
    """

    def __init__(
        self,
        bus: Bus,
        takers: Mapping[str, Callable[[Record], None]],
        starts: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        self._bus = bus
        self._takers = takers
        self._next = dict(starts or {})
        self._behind: dict[TopicPartition, int] = {}
        self._placed: frozenset[TopicPartition] = frozenset()
        self._caught_up = asyncio.Event()
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Return where each partition of a topic is read next."""
        return {place.partition: offset for place, offset in self._next.items() if place.topic == topic}

    async def start(self) -> None:
        """Begin to read.

        Raises:
            BusUnavailable: The log does not say where its partitions end.
        """
        self._consumer = await self._bus.subscribe(f"follow-{uuid4().hex}", list(self._takers))
        for topic in self._takers:
            for number in range(self._bus.partitions(topic)):
                await self._look(TopicPartition(topic, number))
        if not self._behind:
            self._caught_up.set()
        self._task = asyncio.create_task(self._follow(self._consumer), name="follow")

    def has_read(self, topic: str) -> bool:
        """Tell whether everything of a topic that was there at the start has been read."""
        return self._task is not None and all(place.topic != topic for place in self._behind)

    async def caught_up(self) -> None:
        """Wait until everything that was there at the start has been read."""
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.close()

    async def _look(self, place: TopicPartition) -> None:
        oldest, end = await self._bus.bounds(place)
        # A log that was made anew ends before where the old one stood.
        if self._next.get(place, 0) > end:
            self._next[place] = 0
        if max(oldest, self._next.get(place, 0)) < end:
            self._behind[place] = end

    async def _follow(self, consumer: Consumer) -> None:
        while True:
            try:
                await self._once(consumer)
            except Unavailable as error:
                _log.warning("follow: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Without this the process would go on blind to every later registration or session.
                _log.exception("follow")
                await asyncio.sleep(RETRY_S)

    async def _once(self, consumer: Consumer) -> None:
        records = await consumer.take(within_s=TAKE_WITHIN_S)
        fresh = consumer.assigned() - self._placed
        moved = {place for place in fresh if self._next.get(place, 0)}
        for place in moved:
            await consumer.seek(place, self._next[place])
        self._placed = consumer.assigned()
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            if place not in moved and record.offset >= self._next.get(place, 0):
                self._hand_over(record)
                self._passed(place, record.offset + 1)

    def _hand_over(self, record: Record) -> None:
        try:
            self._takers[record.topic](record)
        except Exception:
            # One record that brings out a fault of ours must not hide those behind it.
            _log.exception("%s %d: record %d is passed over", record.topic, record.partition, record.offset)

    def _passed(self, place: TopicPartition, next_offset: int) -> None:
        self._next[place] = next_offset
        end = self._behind.get(place)
        if end is not None and next_offset >= end:
            del self._behind[place]
            if not self._behind:
                self._caught_up.set()
