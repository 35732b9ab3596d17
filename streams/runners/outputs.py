"""What a batch writes, and in which order. Every runner keeps these steps; docs and crash tests carry the numbers.

1. take records of a partition
2. step them on a copy of the states (`engine.Partition.run`)
3. publish findings and rejected records, and wait until each is acknowledged
4. publish the changed states, each with its offset, and then the partition's own record; wait for each
5. fold the new states in
6. commit the offset
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from domain import wire
from domain.bus import partition_for
from domain.topics import DETAIL_HEADER, DETECT_STATE, FINDINGS, REASON_HEADER, REJECTED, SOURCE_HEADER
from streams.runners.engine import PARTITION_KEY, Outcome, save_partition

MAX_DETAIL_BYTES = 2_000


class Output(msgspec.Struct, frozen=True):
    """One record to write.

    Attributes:
        topic: Where.
        partition: Where in it.
        key: Recorder, or the partition's own key; None for what was rejected.
        value: Its bytes.
        headers: Beside it.
    """

    topic: str
    partition: int
    key: str | None
    value: bytes
    headers: Mapping[str, bytes] = {}


def said(outcome: Outcome, partition: int, partitions: Mapping[str, int]) -> Iterator[Output]:
    """Step 3: findings by recorder, rejected records in the partition they came from.

    Args:
        outcome: Of the batch.
        partition: Of the events.
        partitions: Number of partitions of each topic.
    """
    for one in outcome.said:
        place = partition_for(one.finding.recorder_id, partitions[FINDINGS.name])
        yield Output(FINDINGS.name, place, one.finding.recorder_id, wire.encode(one.finding))
    for bad in outcome.rejected:
        headers = {
            REASON_HEADER: bad.reason.encode(),
            DETAIL_HEADER: bad.detail.encode("utf-8", "backslashreplace")[:MAX_DETAIL_BYTES],
            SOURCE_HEADER: f"events/{partition}/{bad.offset}".encode(),
        }
        yield Output(REJECTED.name, partition % partitions[REJECTED.name], None, bad.value, headers)


def states(outcome: Outcome, partition: int) -> Iterator[Output]:
    """Step 4, first part: the recorders that changed."""
    for key, value in outcome.recorders.items():
        yield Output(DETECT_STATE.name, partition, key, value)


def checkpoint(outcome: Outcome, partition: int) -> Output:
    """Step 4, last: the partition's own record, which says that all before it is there."""
    return Output(DETECT_STATE.name, partition, PARTITION_KEY, save_partition(outcome.partition))
