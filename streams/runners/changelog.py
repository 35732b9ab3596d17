"""Reading a partition's states back from the changelog."""

from __future__ import annotations

from detectors.recorder import Rules
from domain.bus import Bus, TopicPartition
from domain.topics import DETECT_STATE
from streams.runners.engine import Partition


async def restore(bus: Bus, partition: int, rules: Rules) -> Partition:
    """Return a partition as its changelog has it; empty where there is none.

    Of the records of one key the one that counts most offsets in wins, whatever its place: a runner that has lost the
    partition and does not know it yet may still write, and what it writes is true, only perhaps older.

    Raises:
        BusUnavailable: The log is away.
    """
    place = TopicPartition(DETECT_STATE.name, partition)
    oldest, end = await bus.bounds(place)
    restored = Partition(rules)
    restored.restore(
        [
            (record.key, record.value)
            async for record in bus.read(place, oldest, end)
            if record.key is not None and record.value is not None
        ]
    )
    return restored
