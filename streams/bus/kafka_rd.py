"""librdkafka (confluent-kafka) behind `kafka_driver`: topic `media`. The only importer of `confluent_kafka`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from domain.bus import Position, Record, TopicPartition
from domain.clock import Instant
from domain.errors import BusUnavailable
from streams.bus.kafka_driver import MESSAGE_MAX_BYTES, KafkaSettings, Listener, Message, Outcome

_MOVED_ON = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
    }
)
_FETCH_BYTES = 16_000_000
SEEK_WAIT_S = 5.0
_SLICE_S = 0.05  # how long a commit may have to wait for the fetch under way

logger = logging.getLogger(__name__)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn what the library raises into our own."""
    try:
        yield
    except (KafkaException, BufferError, RuntimeError) as error:
        raise BusUnavailable(f"{doing}: {error}") from error


def _common(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap,
        "client.id": settings.client_id,
        "socket.timeout.ms": int(settings.request_timeout_s * 1000),
        "socket.connection.setup.timeout.ms": int(settings.request_timeout_s * 1000),
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": int(settings.reconnect_max_s * 1000),
        "topic.metadata.refresh.interval.ms": int(settings.metadata_max_age_s * 1000),
        "message.max.bytes": MESSAGE_MAX_BYTES,
        "error_cb": _log_error,
        "logger": logger,
    }


def _log_error(error: KafkaError) -> None:
    logger.warning("Kafka: %s", error)  # the library retries by itself


class MediaProducer:
    """A producer for large records. Its own threads send; one of ours waits for their acknowledgements."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._timeout_s = settings.publish_timeout_s
        with _translated("cannot make a producer"):
            self._producer = confluent_kafka.Producer(
                _common(settings)
                | {
                    "acks": "all",
                    "enable.idempotence": True,
                    "compression.type": "none",
                    "delivery.timeout.ms": int(settings.publish_timeout_s * 1000),
                    "request.timeout.ms": int(min(settings.request_timeout_s, settings.publish_timeout_s) * 1000),
                    "queue.buffering.max.kbytes": 65_536,
                    "linger.ms": 0,
                }
            )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="liuhen-media-acks", daemon=True)
        self._thread.start()

    def send(self, message: Message, settled: Callable[[Outcome], None]) -> None:
        """Hand a message over."""
        place = message.place
        try:
            with _translated(f"{place.topic}-{place.partition}: not sent"):
                self._producer.produce(
                    place.topic,
                    value=message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=place.partition,
                    timestamp=message.timestamp_ms,
                    on_delivery=lambda error, done: settled(_outcome(place, error, done)),
                )
        except BusUnavailable as error:
            settled(error)

    def close(self) -> None:
        """Wait for what is on its way."""
        self._producer.flush(self._timeout_s)
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._producer.poll(0.2)  # sleeps until there is something to tell


def _outcome(place: TopicPartition, error: KafkaError | None, done: confluent_kafka.Message) -> Outcome:
    if error is not None:
        return BusUnavailable(f"{place.topic}-{place.partition}: not acknowledged: {error}")
    return Position(place.topic, place.partition, done.offset() or 0)


class MediaConsumer:
    """A consumer of large records: a member of `group`, or without one a reader of one place."""

    def __init__(self, settings: KafkaSettings, group: str | None = None) -> None:
        self._patience_s = settings.publish_timeout_s
        self._commits: SimpleQueue[tuple[Mapping[TopicPartition, int], Future[None]]] = SimpleQueue()  # one an awaiter
        self._assigned: list[confluent_kafka.TopicPartition] = []
        with _translated("cannot make a consumer"):
            self._consumer = confluent_kafka.Consumer(
                _common(settings)
                | {
                    "group.id": group or f"{settings.client_id}-reader",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "session.timeout.ms": int(settings.session_timeout_s * 1000),
                    "heartbeat.interval.ms": int(settings.heartbeat_s * 1000),
                    "max.poll.interval.ms": int(settings.max_poll_interval_s * 1000),
                    "partition.assignment.strategy": "roundrobin",
                    "max.partition.fetch.bytes": MESSAGE_MAX_BYTES,
                    "fetch.max.bytes": _FETCH_BYTES,
                    "queued.max.messages.kbytes": _FETCH_BYTES // 1024,
                    "fetch.wait.max.ms": 500,
                    "check.crcs": True,
                }
            )

    def join(self, topics: Sequence[str], listener: Listener) -> None:
        """Take part in the group."""

        def gained(_: object, places: list[confluent_kafka.TopicPartition]) -> None:
            self._assigned = places
            listener.gained(_plain(places))

        def lost(_: object, places: list[confluent_kafka.TopicPartition]) -> None:
            self._assigned = []
            if places:
                passed_on = threading.Event()
                listener.lost(_plain(places), passed_on.set)
                while not passed_on.wait(_SLICE_S):
                    self._serve_commits()
                self._serve_commits()

        with _translated("cannot subscribe"):
            self._consumer.subscribe(list(topics), on_assign=gained, on_revoke=lost, on_lost=lost)

    def assign(self, place: TopicPartition, offset: int) -> None:
        """Read one place without a group."""
        self._assigned = [confluent_kafka.TopicPartition(place.topic, place.partition, offset)]
        with _translated("cannot read"):
            self._consumer.assign(self._assigned)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Return what came."""
        self._serve_commits()
        with _translated("cannot fetch"):
            first = self._consumer.poll(min(timeout_s, _SLICE_S))
            found = [] if first is None else [first, *self._consumer.consume(max_records - 1, 0)]
        return [_record(message) for message in found if _is_record(message)]

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets. The fetching thread does it: the library hangs when another commits while it polls."""
        done: Future[None] = Future()
        self._commits.put((offsets, done))
        try:
            done.result(self._patience_s)
        except TimeoutError:
            raise BusUnavailable(f"cannot commit: no answer within {self._patience_s:g} s") from None

    def _serve_commits(self) -> None:
        while True:
            try:
                offsets, done = self._commits.get_nowait()
            except Empty:
                return
            try:
                self._commit(offsets)
            except BusUnavailable as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        wanted = [confluent_kafka.TopicPartition(*place, offset) for place, offset in offsets.items()]
        try:
            results = self._consumer.commit(offsets=wanted, asynchronous=False) or []
            problems = [result.error for result in results if result.error]
        except KafkaException as error:
            problems = [error.args[0]]
        except RuntimeError as error:
            raise BusUnavailable(f"cannot commit: {error}") from error
        for problem in problems:
            if problem.code() not in _MOVED_ON:
                raise BusUnavailable(f"cannot commit: {problem}")
            logger.info("not committed, the group moved on: %s", problem)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Fetch from `offset` next."""
        with _translated("cannot seek"):
            self._seek(confluent_kafka.TopicPartition(*place, offset))

    def _seek(self, where: confluent_kafka.TopicPartition) -> None:
        """Seek; a partition that was just given to us is for a moment in no state for it."""
        give_up_s = time.monotonic() + SEEK_WAIT_S
        while True:
            try:
                self._consumer.seek(where)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > give_up_s:
                    raise
                time.sleep(_SLICE_S)
            else:
                return

    def position(self, place: TopicPartition) -> int | None:
        """Return the offset that is fetched next."""
        with _translated("cannot ask for the position"):
            found = self._consumer.position([confluent_kafka.TopicPartition(*place)])[0].offset
        return found if found >= 0 else None

    def rewind(self, places: Sequence[TopicPartition]) -> None:
        """Fetch from the committed offsets again."""
        wanted = [confluent_kafka.TopicPartition(*place) for place in places]
        with _translated("cannot rewind"):
            for there in self._consumer.committed(wanted, timeout=self._patience_s):
                if there.offset < 0:
                    there.offset = confluent_kafka.OFFSET_BEGINNING
                self._seek(there)

    def pause(self, *, on: bool) -> None:
        """Stop fetching, or go on."""
        with _translated("cannot pause"):
            (self._consumer.pause if on else self._consumer.resume)(self._assigned)

    def close(self) -> None:
        """Leave the group."""
        with _translated("cannot close"):
            self._consumer.close()


def _plain(places: Sequence[confluent_kafka.TopicPartition]) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(place.topic, place.partition) for place in places)


def _is_record(message: confluent_kafka.Message) -> bool:
    error = message.error()
    if error is not None:
        logger.warning("Kafka: %s", error)  # passing: the library fetches again
    return error is None


def _record(message: Any) -> Record:
    key = message.key()
    headers = {name: value or b"" for name, value in message.headers() or ()}
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        None if key is None else key.decode(errors="replace"),  # a foreign key may be anything
        message.value(),
        headers,
        Instant(message.timestamp()[1]),
    )
