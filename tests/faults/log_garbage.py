"""Records that nobody of ours would write, put directly on the topics of a log on Kafka."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from domain.topics import EVENTS, FINDINGS, MEDIA, REGISTRY, REJECTED

_SEED: Final = 20260302
_LARGE_BYTES: Final = 8_600_000

_VALUES: Final = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b'{"type":"fragment"}',
    b'{"type":"no_such_thing","at":"2026-03-02T08:00:00.000+08:00"}',
    b'{"type":"tick","at":"yesterday"}',
    b'{"recorder_id":"cam-1","kind":"toaster"}',
    b"[" * 100_000,
)


def put_garbage(bootstrap: str, partitions: int) -> int:
    """Write rubbish of all kinds to every partition of every topic; how many records."""
    chance = random.Random(_SEED)
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 9_400_000, "acks": "all"})
    count, refused = 0, []
    for topic in (EVENTS.name, MEDIA.name, FINDINGS.name, REGISTRY.name):
        for partition in range(partitions):
            values = [*_VALUES, *(chance.randbytes(chance.randrange(1, 2_000)) for _ in range(10))]
            if partition == 0:
                values.append(bytes(_LARGE_BYTES))
            for value in values:
                key = chance.choice([b"cam-1", b"rec-1", b"nobody", b"../../up", "\u7559".encode(), b"\xff\xfe"])
                headers = {"event": chance.choice(_VALUES[:9]), "segment": b"x"} if topic == MEDIA.name else {}
                producer.produce(
                    topic,
                    value=value,
                    key=key,
                    headers=list(headers.items()),
                    partition=partition,
                    on_delivery=lambda error, _: refused.append(error) if error is not None else None,
                )
                count += 1
            producer.flush(30)
    assert not refused, refused
    return count


def told_reasons(bootstrap: str, partitions: int) -> Counter[str]:
    """Return how often each reason stands on topic `rejected` now."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "reasons", "enable.auto.commit": False}
    consumer = Consumer({**settings, "enable.partition.eof": True})
    consumer.assign([TopicPartition(REJECTED.name, number, 0) for number in range(partitions)])
    reasons: Counter[str] = Counter()
    ends = 0
    while ends < partitions:
        message = consumer.poll(10)
        assert message is not None, "the broker does not answer"
        if message.error() is not None:
            ends += 1
            continue
        headers: Any = message.headers() or []
        reasons.update(value.decode() for name, value in headers if name == "reason")
    consumer.close()
    return reasons
