"""The changelog of a partition's states: read back when the partition is gained, and written with step 5.

A runner that has lost its partition may not know it yet, and write on: states that are true, only older. So that such
a record takes nothing away, however late it comes and whenever the topic is compacted, every holder of a partition
writes under keys of its own: `recorder#epoch`, the epoch drawn when the partition is gained. Of all records of a
recorder the one that counts most offsets in wins. Once its successor is acknowledged, the one before is taken out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

from detectors.recorder import Rules
from domain.bus import Bus, TopicPartition
from domain.topics import DETECT_STATE
from streams.runners.engine import PARTITION_KEY, Partition, Save, offset_of, save_partition
from streams.runners.outputs import Output

EPOCH_BYTES = 6


class Changelog:
    """Where one holder of a partition writes its states.

    Args:
        number: The partition, of events and of the changelog alike.
        epoch: Tells this holder from all others.
    """

    def __init__(self, number: int, epoch: str | None = None) -> None:
        self._number = number
        self._epoch = epoch or secrets.token_hex(EPOCH_BYTES)
        self._older: dict[str, list[str]] = {}

    def restore(self, partition: Partition, records: Iterable[tuple[str, bytes | None]]) -> None:
        """Take in the changelog, oldest first, and note the keys under which other holders have written.

        Raises:
            msgspec.ValidationError: A record that is no state.
        """
        newest: dict[str, bytes] = {}
        for key, value in records:
            if value is None:
                newest.pop(key, None)
            else:
                newest[key] = max(newest.get(key, value), value, key=offset_of)
        for key in newest:
            self._older.setdefault(_name(key), []).append(key)
        partition.restore((_name(key), value) for key, value in newest.items())

    def states(self, save: Save) -> Iterator[Output]:
        """Step 5, first part: the recorders that changed."""
        for name, value in save.recorders.items():
            yield self._output(name, value)

    def checkpoint(self, save: Save) -> Output:
        """Step 5, then: the partition's own record, which says that all before it is there."""
        return self._output(PARTITION_KEY, save_partition(save.partition))

    def outdated(self, save: Save) -> list[Output]:
        """Step 5, last: take out what those before this holder have written of the same, now that it is not needed."""
        names = [*save.recorders, PARTITION_KEY]
        keys = [key for name in names for key in self._older.pop(name, ())]
        return [Output(DETECT_STATE.name, self._number, key, None) for key in keys]

    def _output(self, name: str, value: bytes) -> Output:
        return Output(DETECT_STATE.name, self._number, f"{name}#{self._epoch}", value)


def _name(key: str) -> str:
    return key.rpartition("#")[0] or key


async def restore(bus: Bus, number: int, rules: Rules) -> tuple[Partition, Changelog]:
    """Return a partition as its changelog has it, empty where there is none, and where to write on.

    Raises:
        BusUnavailable: The log is away.
    """
    place = TopicPartition(DETECT_STATE.name, number)
    oldest, end = await bus.bounds(place)
    restored, changelog = Partition(rules), Changelog(number)
    records = [(record.key, record.value) async for record in bus.read(place, oldest, end) if record.key is not None]
    changelog.restore(restored, records)
    return restored, changelog
