"""A plain loop over the log port: the runner of the embedded log, and one for Kafka."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from detectors.recorder import Rules
from domain.bus import Bus, Consumer, Position, Record, TopicPartition
from domain.errors import BusUnavailable
from domain.topics import EVENTS, FINDINGS, REJECTED
from streams.runners import metrics, outputs
from streams.runners.changelog import Changelog, restore
from streams.runners.engine import Input, Partition
from streams.runners.outputs import Output

GROUP = "detect"
BATCH_RECORDS = 500
WITHIN_S = 0.5
"""How long it waits for events before it looks after its states; events that come are taken at once."""
SAVE_EVERY_S = 10.0
SAVE_RECORDS = 20_000
"""States are saved so often: what a crash repeats, at most."""
RETRY_FIRST_S = 0.2
RETRY_LAST_S = 5.0

Result = TypeVar("Result")
Hook = Callable[[int], Awaitable[None]]

_log = logging.getLogger(__name__)


class _Held:
    """A partition in hand.

    Attributes:
        partition: Its states.
        changelog: Where they are saved.
        unsaved: Records counted in since they were.
        saved_at: When they were, on the event loop's clock.
    """

    def __init__(self, partition: Partition, changelog: Changelog, now_s: float) -> None:
        self.partition = partition
        self.changelog = changelog
        self.unsaved = 0
        self.saved_at = now_s


class DetectLoop:
    """Runs the detectors over the partitions that the group gives it.

    What the log does not take is tried again, for as long as it takes; nothing is passed over. Where to read on is
    what the changelog says, so a changelog that was lost is made again from the oldest event, with the same findings.

    Args:
        bus: The log, started.
        rules: Detectors and thresholds.
        group: Consumer group.
        batch_records: Most records of a step.
        save_every_s: Longest time between two saves of states, where something changed.
        on_step: Awaited with the number of each step just done (crash tests).
    """

    def __init__(
        self,
        bus: Bus,
        rules: Rules,
        *,
        group: str = GROUP,
        batch_records: int = BATCH_RECORDS,
        save_every_s: float = SAVE_EVERY_S,
        on_step: Hook | None = None,
    ) -> None:
        self._batch_records = batch_records
        self._bus = bus
        self._rules = rules
        self._group = group
        self._on_step = on_step
        self._save_every_s = save_every_s
        self._clock = time.monotonic
        self._held: dict[int, _Held] = {}
        self._counts = {topic.name: bus.partitions(topic.name) for topic in (FINDINGS, REJECTED)}

    @property
    def offsets(self) -> dict[int, int]:
        """Last offset counted in of each partition held; its progress is the sign of life."""
        return {number: held.partition.offset for number, held in self._held.items()}

    async def run(self) -> None:
        """Work until cancelled."""
        consumer = await self._patiently(self._subscribe)
        try:
            while True:
                records = await self._patiently(lambda: consumer.take(self._batch_records, WITHIN_S))  # step 1
                for number, batch in _by_partition(records).items():
                    await self._work(consumer, number, batch)
                await self._save_due(consumer)
        finally:
            await consumer.close()

    async def _subscribe(self) -> Consumer:
        return await self._bus.subscribe(self._group, [EVENTS.name], on_gained=self._forget, on_lost=self._forget)

    async def _forget(self, partitions: frozenset[TopicPartition]) -> None:
        for place in partitions:
            if self._held.pop(place.partition, None) is not None:
                metrics.lost(place.partition)

    async def _work(self, consumer: Consumer, number: int, records: Sequence[Record]) -> None:
        place = TopicPartition(EVENTS.name, number)
        if place not in consumer.assigned():
            return
        await self._done(1)
        held = self._held.get(number)
        if held is None:
            restored = await self._patiently(lambda: restore(self._bus, number, self._rules))
            held = self._held[number] = _Held(*restored, self._clock())
        partition = held.partition
        if not await self._follows(consumer, place, partition, records[0].offset):
            return
        outcome = partition.run([Input(record.offset, record.value) for record in records])  # step 2
        await self._done(2)
        await self._publish(outputs.said(outcome, number, self._counts))  # step 3
        await self._done(3)
        partition.fold(outcome)  # step 4
        held.unsaved += len(records)
        metrics.counted(number, len(records), outcome, len(partition))
        await self._done(4)

    async def _save_due(self, consumer: Consumer) -> None:
        now_s = self._clock()
        for number, held in list(self._held.items()):
            due = now_s - held.saved_at >= self._save_every_s or held.unsaved >= SAVE_RECORDS
            if held.unsaved and due:
                await self._save(consumer, number, held)

    async def _save(self, consumer: Consumer, number: int, held: _Held) -> None:
        save = held.partition.save()
        await self._publish(held.changelog.states(save))  # step 5
        await self._publish([held.changelog.checkpoint(save)])
        await self._publish(held.changelog.outdated(save))
        await self._done(5)
        held.unsaved, held.saved_at = 0, self._clock()
        place = TopicPartition(EVENTS.name, number)
        if place in consumer.assigned():
            await self._patiently(lambda: consumer.commit({place: save.partition.offset + 1}))  # step 6
            await self._done(6)

    async def _follows(self, consumer: Consumer, place: TopicPartition, partition: Partition, first: int) -> bool:
        """See that no offset is passed over; if one would be, read on from where the states end."""
        wanted = partition.offset + 1
        if first <= wanted:
            return True
        oldest, _ = await self._patiently(lambda: self._bus.bounds(place))
        if first <= max(oldest, wanted):
            return True  # what lies between was dropped by age
        await consumer.seek(place, max(oldest, wanted))
        return False

    async def _publish(self, records: Iterable[Output]) -> None:
        """Publish in order, and wait for all; repeated as a whole where one was not taken."""
        batch = list(records)
        await self._patiently(lambda: self._publish_once(batch))

    async def _publish_once(self, records: Sequence[Output]) -> None:
        # The tasks start in this order, and the log keeps the order in which `publish` is called.
        done = await asyncio.gather(*(self._send(record) for record in records), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result

    async def _send(self, record: Output) -> Position:
        return await self._bus.publish(
            record.topic, record.key, record.value, headers=record.headers, partition=record.partition
        )

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await call()
            except BusUnavailable as error:
                _log.warning("the log is away, trying again in %.1f s: %s", pause_s, error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_LAST_S)

    async def _done(self, step: int) -> None:
        if self._on_step is not None:
            await self._on_step(step)


def _by_partition(records: Iterable[Record]) -> dict[int, list[Record]]:
    batches: dict[int, list[Record]] = {}
    for record in records:
        batches.setdefault(record.partition, []).append(record)
    return batches
