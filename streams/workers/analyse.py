"""The analysis worker: topic `media` in, `observation` events out.

It is the first thing to be shed and may lose anything: it reads the log from where it is now, never a backlog, looks at
what it has time for, and gives up what the log does not take. Decoding happens in child processes (`streams.analysis`).
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from domain.bus import Bus, Consumer, Record, TopicPartition
from domain.clock import Clock, Instant, ms
from domain.errors import BusUnavailable, InvalidEvent
from domain.events import Fragment
from domain.settings import Settings
from domain.topics import EVENT_HEADER, EVENTS, MEDIA
from domain.wire import decode_event, encode
from streams.analysis.agenda import Agenda, Task
from streams.analysis.children import Child, ChildDied
from streams.analysis.memories import Memories
from streams.analysis.observing import observe
from streams.analysis.wire import Job, Seen
from streams.workers import analyse_metrics as metrics

GROUP = "analyse"
BEHIND_MS = 15_000
"""Records that have stood on the log for longer are a backlog: reading jumps to the end."""
TAKE_BYTES = 16_000_000
TAKE_WITHIN_S = 0.25
COMMIT_EVERY_S = 10.0
SAVE_EVERY_S = 60.0
RETRY_S = 1.0

_log = logging.getLogger(__name__)


class AnalyseWorker:
    """Runs until cancelled; several share the partitions of `media` as one consumer group.

    Args:
        bus: The log, started.
        settings: `analyse_processes`, `analyse_every_s`, `work`.
        clock: For the age of records and `at` of observations.
        children: Processes that decode; made from the settings where absent.
    """

    def __init__(self, bus: Bus, settings: Settings, clock: Clock, children: list[Child] | None = None) -> None:
        self._bus = bus
        self._clock = clock
        self._children = children or [Child() for _ in range(settings.analyse_processes)]
        self._agenda = Agenda(ms(settings.analyse_every_s))
        name = settings.worker_id or "worker"
        self._memories = Memories(Path(settings.work) / f"analyse-{name}.references")
        self._bell = asyncio.Event()
        self._positions: dict[TopicPartition, int] = {}
        self._shed = 0

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            Unavailable: No process that decodes can be started.
        """
        await asyncio.to_thread(self._memories.load)
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in self._children:
                    tasks.create_task(self._serve(child))
                tasks.create_task(self._save())
                tasks.create_task(self._read())
        finally:
            for child in self._children:
                await child.close()
            await asyncio.to_thread(self._memories.save)

    # Reading

    async def _read(self) -> None:
        consumer = await self._join()
        committed_s = self._clock.monotonic()
        try:
            while True:
                try:
                    await self._round(consumer)
                    if self._clock.monotonic() - committed_s >= COMMIT_EVERY_S:
                        committed_s = self._clock.monotonic()
                        await self._commit(consumer)
                except BusUnavailable as error:
                    _log.warning("the log is away, nothing is looked at: %s", error)
                    await asyncio.sleep(RETRY_S)
        finally:
            await consumer.close()

    async def _join(self) -> Consumer:
        while True:
            try:
                return await self._bus.subscribe(GROUP, [MEDIA.name])
            except BusUnavailable as error:
                _log.warning("the log is away, nothing is looked at: %s", error)
            await asyncio.sleep(RETRY_S)

    async def _round(self, consumer: Consumer) -> None:
        now = self._clock.now()
        records = await consumer.take(max_bytes=TAKE_BYTES, within_s=TAKE_WITHIN_S)
        behind: dict[TopicPartition, int] = {}
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            self._positions[place] = record.offset + 1
            if place in behind or now - record.timestamp > BEHIND_MS:
                behind.setdefault(place, record.offset)
            else:
                self._admit(record, now)
        for place, offset in behind.items():
            await self._jump(consumer, place, offset)
        metrics.WAITING.set(len(self._agenda))
        if self._agenda.shed > self._shed:
            metrics.SKIPPED.labels("load").inc(self._agenda.shed - self._shed)
            self._shed = self._agenda.shed
        if len(self._agenda):
            self._bell.set()

    def _admit(self, record: Record, now: Instant) -> None:
        if not record.value or EVENT_HEADER not in record.headers:
            return
        try:
            event = decode_event(record.headers[EVENT_HEADER])
        except InvalidEvent:
            return  # the store worker says so, once
        if isinstance(event, Fragment) and event.recorder_id == record.key:
            self._agenda.offer(event, bytes(record.value), now)

    async def _jump(self, consumer: Consumer, place: TopicPartition, first: int) -> None:
        """Leave a backlog alone and go on with what is new."""
        _, end = await self._bus.bounds(place)
        if end > self._positions[place] and place in consumer.assigned():
            await consumer.seek(place, end)
            self._positions[place] = end
        metrics.SKIPPED.labels("backlog").inc(self._positions[place] - first)

    async def _commit(self, consumer: Consumer) -> None:
        held = consumer.assigned()
        self._positions = {place: offset for place, offset in self._positions.items() if place in held}
        if self._positions:
            await consumer.commit(self._positions)

    # Looking

    async def _serve(self, child: Child) -> None:
        await child.start()
        while True:
            task = self._agenda.take(self._clock.now())
            if task is None:
                self._bell.clear()
                await self._bell.wait()
                continue
            try:
                seen = await child.ask(Job(task.data, task.look, task.hear, task.listen))
            except ChildDied as error:
                metrics.UNDECODABLE.labels("process").inc()
                _log.warning("fragment %d of feed %s: %s", task.event.seq, task.event.feed_id, error)
                continue
            await self._tell(task, seen)

    async def _tell(self, task: Task, seen: Seen) -> None:
        if seen.problems:
            metrics.UNDECODABLE.labels("media").inc()
            _log.info("fragment %d of feed %s: %s", task.event.seq, task.event.feed_id, "; ".join(seen.problems))
        event = task.event
        observation = observe(event, seen, self._memories.of(event.recorder_id), self._clock.now())
        if observation is None:
            return
        metrics.KEYFRAMES.inc(seen.picture is not None)
        metrics.HEARD.inc(event.duration_s if seen.sound is not None else 0)
        metrics.ANALYSE_SECONDS.observe(max(0, observation.at - task.since) / 1000)
        try:
            await self._bus.publish(EVENTS.name, observation.recorder_id, encode(observation))
        except BusUnavailable as error:
            metrics.UNPUBLISHED.inc()
            _log.warning("an observation is lost: %s", error)

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await asyncio.to_thread(self._memories.save)


async def run(bus: Bus, settings: Settings, clock: Clock) -> None:
    """Analyse until cancelled; see `AnalyseWorker`."""
    await AnalyseWorker(bus, settings, clock).run()
