"""What the two Kafka clients have in common: settings, and the shape both are given. Imports neither of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.bus import Position, Record, TopicPartition
from domain.errors import BusUnavailable
from domain.topics import MAX_RECORD_BYTES

MESSAGE_MAX_BYTES = MAX_RECORD_BYTES + 1024 * 1024
"""`max.message.bytes` of our topics: the largest record and room for its key, headers and batch."""


class KafkaSettings(NamedTuple):
    """How long each thing may take. `docs/design/log.md` says which outage each survives.

    Attributes:
        bootstrap: `host:port[,host:port…]`.
        client_id: Name of this process in the broker's logs.
        publish_timeout_s: From `publish` to its acknowledgement, retries included.
        request_timeout_s: One request; a paused broker is given up after it.
        session_timeout_s: A member that is not heard of so long has left its group.
        heartbeat_s: Pause between two signs of life.
        max_poll_interval_s: A member that fetches nothing so long has left, alive or not.
        reconnect_max_s: Longest pause between two tries to connect.
        metadata_max_age_s: How old what is known of leaders may get.
        buffer_bytes: Records fetched ahead by one consumer; beyond it fetching pauses.
    """

    bootstrap: str
    client_id: str
    publish_timeout_s: float = 10.0
    request_timeout_s: float = 5.0
    session_timeout_s: float = 6.0
    heartbeat_s: float = 1.5
    max_poll_interval_s: float = 300.0
    reconnect_max_s: float = 1.0
    metadata_max_age_s: float = 30.0
    buffer_bytes: int = 32_000_000


class Message(NamedTuple):
    """A record on its way to the broker."""

    place: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


Outcome = Position | BusUnavailable


class ProducerDriver(Protocol):
    """Sends. `settled` comes in any thread."""

    def send(self, message: Message, settled: Callable[[Outcome], None]) -> None:
        """Hand a message over; never blocks for long. Messages of a partition keep the order of the calls."""
        ...

    def close(self) -> None:
        """Wait for what is on its way, at most the publish timeout; blocks."""
        ...


class Listener(Protocol):
    """Told of assignments in the driver's threads."""

    def gained(self, places: frozenset[TopicPartition]) -> None:
        """Partitions are now ours; returns at once."""
        ...

    def lost(self, places: frozenset[TopicPartition], passed_on: Callable[[], None]) -> None:
        """Partitions are to be given up; returns at once, and calls `passed_on` once they may move."""
        ...


class ConsumerDriver(Protocol):
    """Fetches, for a group or from one place. One thread calls everything but `commit`, which has one and blocks."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Return what came within `timeout_s`; nothing while the broker is away.

        Raises:
            BusUnavailable: The broker refuses.
        """
        ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets; those of partitions that moved on are passed over.

        Raises:
            BusUnavailable: Not stored.
        """
        ...

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Fetch from `offset` next."""
        ...

    def position(self, place: TopicPartition) -> int | None:
        """Return the offset that is fetched next; None if not known yet."""
        ...

    def rewind(self, places: Sequence[TopicPartition]) -> None:
        """Fetch from the committed offsets again."""
        ...

    def pause(self, *, on: bool) -> None:
        """Stop fetching but stay in the group, or go on."""
        ...

    def close(self) -> None:
        """Leave the group; blocks for a few seconds at most."""
        ...
