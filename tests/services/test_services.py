"""Each service of the tests starts, answers, and keeps its data over a kill and a restart."""

import io
import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer

_LARGEST_RECORD_BYTES = 8 * 1024 * 1024


def _produce(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "message.max.bytes": 9 * 1024 * 1024})
    failures: list[object] = []
    producer.produce(topic, value, headers={"schema": b"1"}, on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures == [None]


def _first_record(kafka: KafkaServer, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": uuid.uuid4().hex})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


@pytest.mark.kafka
def test_kafka_takes_records_of_8_mib(kafka: KafkaServer) -> None:
    kafka.create_topic("large", 3)
    assert kafka.topics()["large"] == 3
    kafka.create_topic("large-one")
    _produce(kafka, "large-one", bytes(_LARGEST_RECORD_BYTES))
    assert _first_record(kafka, "large-one") == bytes(_LARGEST_RECORD_BYTES)


@pytest.mark.kafka
def test_kafka_keeps_its_log_over_a_kill(kafka_factory: Callable[..., KafkaServer]) -> None:
    kafka = kafka_factory()
    kafka.create_topic("kept")
    _produce(kafka, "kept", b"before the kill")
    kafka.kill()
    assert not kafka.alive
    kafka.start()
    with kafka.paused():
        assert kafka.alive
    assert _first_record(kafka, "kept") == b"before the kill"


@pytest.mark.minio
def test_minio_keeps_its_objects_over_a_kill(minio_factory: Callable[[], MinioServer]) -> None:
    minio = minio_factory()
    client = minio.client()
    client.make_bucket("kept", object_lock=True)
    client.put_object("kept", "a", io.BytesIO(b"evidence"), 8)
    minio.kill()
    minio.start()
    answer = client.get_object("kept", "a")
    try:
        assert answer.data == b"evidence"
    finally:
        answer.close()
        answer.release_conn()


@pytest.mark.minio
def test_shared_minio_answers(minio: MinioServer) -> None:
    assert minio.client().list_buckets() == []
