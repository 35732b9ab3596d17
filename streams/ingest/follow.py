"""Reading a whole topic, all partitions, as long as the process lives: how ingest knows recorders and sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from domain.bus import Bus, Record, TopicPartition
from domain.errors import Unavailable

RETRY_S: Final = 1.0
"""Wait before reading on from a log that was away."""
_log = logging.getLogger(__name__)


class Follower:
    """Hands every record of a topic to a function, in order within a partition, and goes on when the log was away.

    Args:
        bus: The log.
        topic: Name of the topic.
        take: Called with each record; must not raise.
        starts: Where to begin by partition; the oldest kept where absent.
    """

    def __init__(
        self, bus: Bus, topic: str, take: Callable[[Record], None], starts: Mapping[int, int] | None = None
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._take = take
        self._next = dict(starts or {})
        self._behind: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def next_offsets(self) -> dict[int, int]:
        """Where each partition is read next."""
        return dict(self._next)

    async def start(self) -> None:
        """Begin to read.

        Raises:
            BusUnavailable: The log does not say where its partitions end.
        """
        for number in range(self._bus.partitions(self._topic)):
            oldest, end = await self._bus.bounds(TopicPartition(self._topic, number))
            # A log that was made anew ends before where the old one stood.
            if self._next.get(number, 0) > end:
                self._next[number] = 0
            if max(oldest, self._next.get(number, 0)) < end:
                self._behind[number] = end
        if not self._behind:
            self._caught_up.set()
        for number in range(self._bus.partitions(self._topic)):
            self._tasks.append(asyncio.create_task(self._follow(number), name=f"follow {self._topic} {number}"))

    async def caught_up(self) -> None:
        """Wait until everything that was there at the start has been read."""
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, number: int) -> None:
        while True:
            try:
                await self._read(number)
            except Unavailable as error:
                _log.warning("%s %d: %s", self._topic, number, error)
            except Exception:
                # Without this the process would go on blind to every later registration or session.
                _log.exception("%s %d", self._topic, number)
            await asyncio.sleep(RETRY_S)

    async def _read(self, number: int) -> None:
        partition = TopicPartition(self._topic, number)
        async for record in self._bus.read(partition, self._next.get(number, 0), follow=True):
            self._next[number] = record.offset + 1
            self._take(record)
            end = self._behind.get(number)
            if end is not None and record.offset + 1 >= end:
                del self._behind[number]
                if not self._behind:
                    self._caught_up.set()
