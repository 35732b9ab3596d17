"""kafka-python behind `kafka_driver`: administration, and the topics of small records. The only importer of `kafka`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import kafka
from kafka.admin import KafkaAdminClient
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    MessageSizeTooLargeError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
)
from kafka.future import Future
from kafka.structs import OffsetAndMetadata

from domain.bus import Position, Record, TopicPartition
from domain.clock import Instant
from domain.errors import BusUnavailable
from domain.topics import Topic
from streams.bus.kafka_driver import MESSAGE_MAX_BYTES, KafkaSettings, Listener, Message, Outcome

_MOVED_ON = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)
_FETCH_BYTES = 16_000_000
_DELIVERY_TIMEOUT_S = 600.0  # what is in flight outlives any outage shorter than this, in order

logger = logging.getLogger(__name__)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn what the library raises into our own."""
    try:
        yield
    except (KafkaError, OSError, RuntimeError) as error:
        # RuntimeError: its network thread has ended.
        raise BusUnavailable(f"{doing}: {type(error).__name__}: {error}") from error


def _common(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap_servers": settings.bootstrap.split(","),
        "client_id": settings.client_id,
        "request_timeout_ms": int(settings.request_timeout_s * 1000),
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": int(settings.reconnect_max_s * 1000),
        "bootstrap_timeout_ms": int(settings.publish_timeout_s * 1000),
        "metadata_max_age_ms": int(settings.metadata_max_age_s * 1000),
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


class Administration:
    """Makes topics and answers questions about them; every call blocks.

    Raises:
        BusUnavailable: No broker answers.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        not_for_admin = {"allow_auto_create_topics", "metrics_enabled"}
        common = {name: value for name, value in _common(settings).items() if name not in not_for_admin}
        with _translated(f"cannot reach {settings.bootstrap}"):
            self._admin = KafkaAdminClient(**common)
            self._offsets = kafka.KafkaConsumer(**_common(settings))

    def ensure(self, topics: Sequence[Topic], partitions: int) -> dict[str, int]:
        """Make the topics that are missing; return the number of partitions of each."""
        with _translated("cannot make topics"):
            known = self._known()
            brokers = len(self._admin.describe_cluster()["brokers"])
            missing = {
                topic.name: {
                    "num_partitions": partitions,
                    "replication_factor": min(3, brokers),
                    "configs": topic_settings(topic, brokers),
                }
                for topic in topics
                if topic.name not in known
            }
            if missing:
                self._create(missing)
                known = self._known()
        return {topic.name: known[topic.name] for topic in topics}

    def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """Return the oldest kept offset and the next one."""
        there = kafka.TopicPartition(*place)
        with _translated(f"cannot ask for the offsets of {place.topic}-{place.partition}"):
            return self._offsets.beginning_offsets([there])[there], self._offsets.end_offsets([there])[there]

    def close(self) -> None:
        """Let go."""
        with _translated("cannot close"):
            self._offsets.close(timeout_ms=1000)
            self._admin.close()

    def _create(self, missing: Mapping[str, Any]) -> None:
        try:
            self._admin.create_topics(dict(missing), wait_for_metadata=True)
        except TopicAlreadyExistsError:
            logger.info("another process made a topic at the same time")
            for name, wanted in missing.items():
                if name not in self._known():
                    self._create({name: wanted})

    def _known(self) -> dict[str, int]:
        return {topic["name"]: len(topic["partitions"]) for topic in self._admin.describe_topics()}


def topic_settings(topic: Topic, brokers: int) -> dict[str, str]:
    """Return the broker's settings for a topic of ours."""
    retention_ms = -1 if topic.retention_s is None else topic.retention_s * 1000
    settings = {
        "retention.ms": str(retention_ms),
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "max.message.bytes": str(MESSAGE_MAX_BYTES),
        "compression.type": "producer",
        # With three copies, two must have it before it counts; a broker may then be away.
        "min.insync.replicas": "2" if brokers >= 3 else "1",
    }
    if topic.retention_s is not None:
        # Only whole closed segments are dropped: they must not live much longer than the retention itself.
        settings["segment.ms"] = str(max(1000, min(3_600_000, retention_ms // 8)))
    return settings


class SmallProducer:
    """A producer for small records.

    Sending may wait for metadata, so it has a thread; what waits for it is bounded by the caller's bytes in flight.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer = self._connect()
        self._expired = False
        self._queue: SimpleQueue[tuple[Message, Callable[[Outcome], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="liuhen-kafka-send", daemon=True)
        self._thread.start()

    def _connect(self) -> Any:
        settings = self._settings
        timeout_ms = int(settings.publish_timeout_s * 1000)
        wanted = {
            "acks": "all",
            "enable_idempotence": True,
            # Not the publisher's own: once a batch has expired, the library's idempotent producer never sends again.
            "delivery_timeout_ms": int(_DELIVERY_TIMEOUT_S * 1000),
            "max_block_ms": timeout_ms,
            "max_request_size": MESSAGE_MAX_BYTES,
            "batch_size": 262_144,
            "linger_ms": 2,
        }
        with _translated(f"cannot reach {settings.bootstrap}"):
            return kafka.KafkaProducer(**_common(settings) | wanted)

    def send(self, message: Message, settled: Callable[[Outcome], None]) -> None:
        """Hand a message over."""
        self._queue.put((message, settled))

    def close(self) -> None:
        """Wait for what is on its way."""
        self._queue.put(None)
        self._thread.join()
        with _translated("cannot close the producer"):
            self._producer.close(timeout=self._settings.publish_timeout_s)

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            self._send(*waiting)

    def _send(self, message: Message, settled: Callable[[Outcome], None]) -> None:
        place = message.place
        try:
            with _translated(f"{place.topic}-{place.partition}: not sent"):
                if self._expired:
                    self._replace()
                future = self._producer.send(
                    place.topic,
                    value=message.value,
                    key=message.key,
                    headers=message.headers,
                    partition=place.partition,
                    timestamp_ms=message.timestamp_ms,
                )
        except BusUnavailable as error:
            settled(error)
            return
        future.add_callback(lambda done: settled(Position(done.topic, done.partition, done.offset)))
        future.add_errback(lambda error: self._failed(place, error, settled))

    def _failed(self, place: TopicPartition, error: BaseException, settled: Callable[[Outcome], None]) -> None:
        """In the library's thread."""
        self._expired = self._expired or not isinstance(error, MessageSizeTooLargeError)
        settled(_refusal(place, error))

    def _replace(self) -> None:
        """Go on with a new producer: the old one's sequence is broken. Nothing of it may come later."""
        self._producer.close(timeout=0)
        self._producer = self._connect()
        self._expired = False


def _refusal(place: TopicPartition, error: BaseException) -> BusUnavailable:
    what = "too large for the broker" if isinstance(error, MessageSizeTooLargeError) else "not acknowledged"
    return BusUnavailable(f"{place.topic}-{place.partition}: {what}: {type(error).__name__}: {error}")


class _Rebalance(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Waits on the library's own loop, so that heartbeats go on meanwhile."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.wake: Callable[[Callable[[], object]], object] = lambda call: call()

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Return when our side has let go."""
        places = frozenset(TopicPartition(*place) for place in revoked)
        if places:
            done = Future()

            def passed_on() -> None:
                self.wake(lambda: done.success(None))

            self._listener.lost(places, passed_on)
            await done

    async def on_partitions_lost(self, lost: set[Any]) -> None:
        """Treat what is gone already as what goes."""
        await self.on_partitions_revoked(lost)

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        """Pass it on."""
        self._listener.gained(frozenset(TopicPartition(*place) for place in assigned))


class SmallConsumer:
    """A consumer of small records: a member of `group`, or without one a reader of `place` from `offset` on."""

    def __init__(self, settings: KafkaSettings, group: str | None = None) -> None:
        self._commit_timeout_ms = int(settings.publish_timeout_s * 1000)
        with _translated(f"cannot reach {settings.bootstrap}"):
            self._consumer = kafka.KafkaConsumer(
                **_common(settings)
                | {
                    "group_id": group,
                    "enable_auto_commit": False,
                    "auto_offset_reset": "earliest",
                    "session_timeout_ms": int(settings.session_timeout_s * 1000),
                    "heartbeat_interval_ms": int(settings.heartbeat_s * 1000),
                    "max_poll_interval_ms": int(settings.max_poll_interval_s * 1000),
                    "max_partition_fetch_bytes": MESSAGE_MAX_BYTES,
                    "fetch_max_bytes": _FETCH_BYTES,
                    "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
                    # A fetch must be answered before its request times out.
                    "fetch_max_wait_ms": 500,
                }
            )

    def join(self, topics: Sequence[str], listener: Listener) -> None:
        """Take part in the group."""
        rebalance = _Rebalance(listener)
        rebalance.wake = self._consumer._net.call_soon_threadsafe
        with _translated("cannot subscribe"):
            self._consumer.subscribe(topics=list(topics), listener=rebalance)

    def assign(self, place: TopicPartition, offset: int) -> None:
        """Read one place without a group."""
        there = kafka.TopicPartition(*place)
        with _translated("cannot read"):
            self._consumer.assign([there])
            self._consumer.seek(there, offset)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Return what came."""
        with _translated("cannot fetch"):
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return [_record(found) for batch in batches.values() for found in batch]

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets."""
        wanted = {kafka.TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        with _translated("cannot commit"):
            try:
                self._consumer.commit(wanted, timeout_ms=self._commit_timeout_ms)
            except _MOVED_ON as error:
                logger.info("not committed, the group moved on: %s", error)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Fetch from `offset` next."""
        with _translated("cannot seek"):
            there = kafka.TopicPartition(*place)
            if there in self._consumer.assignment():
                self._consumer.seek(there, offset)

    def position(self, place: TopicPartition) -> int | None:
        """Return the offset that is fetched next."""
        with _translated("cannot ask for the position"):
            position: int | None = self._consumer.position(kafka.TopicPartition(*place), timeout_ms=100)
        return position

    def rewind(self, places: Sequence[TopicPartition]) -> None:
        """Fetch from the committed offsets again."""
        with _translated("cannot rewind"):
            for place in places:
                there = kafka.TopicPartition(*place)
                offset = self._consumer.committed(there, timeout_ms=self._commit_timeout_ms)
                if offset is None:
                    self._consumer.seek_to_beginning(there)
                else:
                    self._consumer.seek(there, offset)

    def pause(self, *, on: bool) -> None:
        """Stop fetching, or go on."""
        places = self._consumer.assignment()
        if places:
            (self._consumer.pause if on else self._consumer.resume)(*places)

    def close(self) -> None:
        """Leave the group."""
        with _translated("cannot close"):
            self._consumer.close(autocommit=False, timeout_ms=2000)


def _record(found: Any) -> Record:
    key = None if found.key is None else found.key.decode(errors="replace")  # a foreign key may be anything
    headers = dict(found.headers) if found.headers else {}
    return Record(found.topic, found.partition, found.offset, key, found.value, headers, Instant(found.timestamp))
