"""What a batch writes, and in which order. Every runner keeps these steps; docs and crash tests carry the numbers.

1. take records of a partition
2. step them on copies of the states (`engine.Partition.run`)
3. publish findings and rejected records, and wait until each is acknowledged
4. fold the new states in
   … and every 10 s, or after 20,000 records:
5. publish the states that changed since, each with its offset, and then the partition's own record; wait for each
6. commit the offset
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from domain import wire
from domain.bus import partition_for
from domain.topics import DETAIL_HEADER, FINDINGS, REASON_HEADER, REJECTED, SOURCE_HEADER
from streams.runners.engine import Outcome

MAX_DETAIL_BYTES = 2_000


class Output(msgspec.Struct, frozen=True):
    """One record to write.

    Attributes:
        topic: Where.
        partition: Where in it.
        key: Recorder, or the partition's own key; None for what was rejected.
        value: Its bytes; None takes the key out of a changelog.
        headers: Beside it.
    """

    topic: str
    partition: int
    key: str | None
    value: bytes | None
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
