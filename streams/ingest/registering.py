"""Putting registrations on the log."""

from __future__ import annotations

from collections.abc import Sequence

from domain import wire
from domain.bus import Bus, TopicPartition, partition_for
from domain.registry import Registration
from domain.topics import REGISTRY


async def register(bus: Bus, registrations: Sequence[Registration]) -> int:
    """Publish those that are not on the log as they are; the answer is how many that were.

    What stands there already is not written again: a new record would restart the camera.

    Raises:
        BusUnavailable: Not all are there.
    """
    count = bus.partitions(REGISTRY.name)
    known: dict[str | None, bytes | None] = {}
    for partition in sorted({partition_for(one.recorder_id, count) for one in registrations}):
        async for record in bus.read(TopicPartition(REGISTRY.name, partition), 0):
            known[record.key] = record.value
    new = [one for one in registrations if known.get(one.recorder_id) != wire.encode(one)]
    for one in new:
        await bus.publish(REGISTRY.name, one.recorder_id, wire.encode(one))
    return len(new)
