"""The embedded log behind a switch: away when told, with what was being written in doubt."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from domain.bus import Position, Record, TopicPartition
from domain.errors import BusUnavailable
from streams.bus.embedded import EmbeddedBus


class FlakyBus(EmbeddedBus):
    """`away` refuses before writing; `doubtful` writes and then says that it did not; `refuse` raises what it holds."""

    away = False
    doubtful = 0
    refuse: Exception | None = None
    published = 0

    async def publish(
        self,
        topic: str,
        key: str | None,
        value: bytes | None,
        *,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        if self.refuse is not None and topic == "media":
            raise self.refuse
        if self.away:
            raise BusUnavailable("switched off")
        position = await super().publish(topic, key, value, headers=headers, partition=partition)
        self.published += 1
        if self.doubtful:
            self.doubtful -= 1
            raise BusUnavailable("no acknowledgement")
        return position


def flaky(directory: Path, partitions: int = 2) -> FlakyBus:
    return FlakyBus(directory, partitions=partitions)


async def everything(bus: EmbeddedBus, topic: str, recorder_id: str | None = None) -> list[Record]:
    """All records of a topic, partition after partition."""
    found: list[Record] = []
    for partition in range(bus.partitions(topic)):
        found += [record async for record in bus.read(TopicPartition(topic, partition), 0)]
    return [record for record in found if recorder_id is None or record.key == recorder_id]


async def until_count(bus: EmbeddedBus, topic: str, count: int, within_s: float = 15) -> list[Record]:
    """Poll until a topic holds so many records."""
    async with asyncio.timeout(within_s):
        while len(found := await everything(bus, topic)) < count:  # noqa: ASYNC110 - polls the log, as others do
            await asyncio.sleep(0.02)
    return found
