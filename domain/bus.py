"""The log port: durable, partitioned, replayable topics. Implementations are in `streams.bus`.

Rules that every implementation keeps, and the contract suite checks:

1. A key always maps to the same partition, on every implementation and in every process (`partition_for`).
2. Within a partition, records keep the order in which `publish` was *called*; offsets run 0, 1, 2… without holes.
3. `publish` returns only when the record survives kill -9 of every process of ours (Kafka: acks=all; embedded: fsync).
4. A consumer group hands each partition to one member at a time, from its committed offset (the beginning if none).
5. What was read and not committed comes again after a crash or a rebalance: at least once.
6. Every buffer is bounded. `publish` waits when too many bytes are in flight (back-pressure) and raises
   `BusUnavailable` when no acknowledgement came in time; the record may then have been written or not.
7. Records are dropped by age alone (a topic's `retention_s`), whole oldest part first; compacted topics keep the
   newest record of each key (offsets may then have holes).
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from domain.clock import Instant


class TopicPartition(NamedTuple):
    """One ordered piece of a topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Record(msgspec.Struct, frozen=True):
    """One record as read.

    Attributes:
        topic: Name of the topic.
        partition: Partition number from 0.
        offset: Place in the partition, from 0.
        key: Usually the recorder id; None on ticks.
        value: Payload bytes; None is a tombstone on a compacted topic.
        headers: Small named byte strings beside the payload.
        timestamp: When the log took it.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: bytes | None
    headers: Mapping[str, bytes]
    timestamp: Instant


def partition_for(key: str, partitions: int) -> int:
    """Map a key to a partition: CRC-32 of its UTF-8 bytes, modulo. The same everywhere, for ever."""
    return zlib.crc32(key.encode()) % partitions


RebalanceListener = Callable[[frozenset[TopicPartition]], Awaitable[None]]
"""Awaited with the partitions gained or given up, before `Consumer.take` returns records of the new assignment."""


class Consumer(Protocol):
    """One member of a consumer group."""

    async def take(self, max_records: int = 500, within_s: float = 0.05, max_bytes: int = 32_000_000) -> list[Record]:
        """Return what is there, waiting at most `within_s` for the first record; [] when nothing came.

        Raises:
            BusUnavailable: The log is away. The next call tries again from where this one stood.
        """
        ...

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Store durably that everything before these offsets is done.

        Raises:
            BusUnavailable: Not stored. A partition no longer held is passed over silently: its new owner repeats.
        """
        ...

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read this held partition from `offset` next."""
        ...

    def assigned(self) -> frozenset[TopicPartition]:
        """Return the partitions held now."""
        ...

    def settled(self) -> bool:
        """Whether the group has said what this member holds; false while partitions are being shared out anew.

        What stands in `assigned` meanwhile says nothing of what will be held.
        """
        ...

    async def close(self) -> None:
        """Leave the group at once, without committing."""
        ...


class Bus(Protocol):
    """The log."""

    async def start(self) -> None:
        """Connect, and create the topics of `domain.topics` that are missing.

        Raises:
            BusUnavailable: No broker answers, or the directory cannot be used.
        """
        ...

    async def close(self) -> None:
        """Finish what is in flight and let go."""
        ...

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic; known after `start`."""
        ...

    async def publish(
        self,
        topic: str,
        key: str | None,
        value: bytes | None,
        *,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """Append durably. `partition` overrides the key's own (ticks, changelogs).

        Raises:
            BusUnavailable: Not acknowledged in time.
        """
        ...

    async def subscribe(
        self,
        group: str,
        topics: Sequence[str],
        *,
        on_gained: RebalanceListener | None = None,
        on_lost: RebalanceListener | None = None,
    ) -> Consumer:
        """Join a consumer group."""
        ...

    def read(
        self, partition: TopicPartition, start: int, stop: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Record]:
        """Read without a group from `start` (or the oldest kept) up to `stop` (default: the end as it is now).

        With `follow`, waits for new records for ever instead of ending. Closing the iterator stops it.
        """
        ...

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return the oldest kept offset and the next offset to be written."""
        ...
