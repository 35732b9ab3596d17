"""The store worker: topic `media` in, locked segments out.

The steps, numbered as in docs/design/storage.md and in the crash test:

1. Gather: check each fragment against its hash and append it to its segment's part file.
2. Finish the part file: the manifest, and the hash of the whole.
3. PUT it: create-only, locked, tagged.
4. Ask the store what it has: the version written first, its hash, its lock.
5. Append the segment's entry to the custody ledger.
6. Write the catalogue's row.
7. Publish `segment_stored`, wait for the log, and mark the row announced.
8. Commit the offset before which everything is stored or rejected.

A crash after any of them repeats from the committed offset and changes nothing. While the store is away nothing is
lost and little is held: taking stops when `max_waiting_bytes` of closed segments wait, and the media stays on the log.
A feed that fell silent without a word is ended on the log by this worker (`feed_end`), so that where its last segment
ends is a fact of the log too, whoever reads it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from domain.bus import Bus, Consumer, Record, TopicPartition
from domain.clock import Clock, SystemClock
from domain.errors import BusUnavailable, CatalogUnavailable, IntegrityError, Refused, Unavailable
from domain.events import Integrity
from domain.settings import Settings
from domain.topics import (
    DETAIL_HEADER,
    EVENT_HEADER,
    EVENTS,
    FEED_END_HEADER,
    MAX_REJECTED_BYTES,
    MEDIA,
    REASON_HEADER,
    REJECTED,
    SOURCE_HEADER,
)
from domain.wire import encode
from policies.local import Rulebook
from storage.catalog.catalog import Catalog
from storage.deposit import Deposit, Depot, StepHook, alarm, announcement
from storage.ledger.ledger import Ledger
from storage.objects.port import ObjectStore, SourceDamaged
from storage.segmenter import Bounds, Segment
from streams.workers import store_metrics as metrics
from streams.workers.store_partition import Partition, Reject, read, source_of
from streams.workers.work_folder import own

GROUP = "store"
TAKE_BYTES = 8 * 1024 * 1024
"""One record of the largest size; the only copy of media that the worker holds in memory."""
TAKE_WITHIN_S = 0.25
STORING_AT_ONCE = 4
MAX_WAITING_BYTES = 512_000_000
MAX_WAITING_SEGMENTS = 256
QUIET_S = 30.0
"""A feed says something at least every 4 s; after this it is taken for dead and its end is written on the log."""
LOOK_FOR_SILENCE_S = 5.0
KEEP_ALIVE_S = 10.0
"""How often a worker that takes nothing still asks the log, so that a rebalance need not wait for it."""
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 30.0

logger = logging.getLogger(__name__)


class StoreWorker:
    """Runs until cancelled; several share the partitions of `media` as one consumer group.

    Args:
        bus: The log, started.
        store: Where segments go.
        catalog: Where it is written down.
        ledger: Where it is attested.
        settings: `work`, `segment_s`, `gap_min_s`, `policy`.
        policy_of: A recorder's policy; `settings.policy` for all where absent.
        book: The policies in force, which say for how long to lock; those of the package alone where absent.
        clock: For `stored_at` and for silence.
        step_done: Called after each step; see `storage.deposit.StepHook`.
        quiet_s: See `QUIET_S`.
        max_waiting_bytes: See the module.
    """

    def __init__(
        self,
        bus: Bus,
        store: ObjectStore,
        catalog: Catalog,
        ledger: Ledger,
        settings: Settings,
        *,
        policy_of: Callable[[str], str] | None = None,
        book: Rulebook | None = None,
        clock: Clock | None = None,
        step_done: StepHook = lambda _: None,
        quiet_s: float = QUIET_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._bus = bus
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._depot = Depot(
            store,
            catalog,
            ledger,
            self._clock,
            policy_of=policy_of or (lambda _: settings.policy),
            step_done=step_done,
            book=book,
        )
        self._step_done = step_done
        self._quiet_s = quiet_s
        self._max_waiting_bytes = max_waiting_bytes
        self._folder = Path(settings.work) / "store"
        self._bounds = Bounds(max_ms=2000 * settings.segment_s, gap_ms=round(1000 * settings.gap_min_s))
        self._partitions: dict[TopicPartition, Partition] = {}
        self._slots = asyncio.Semaphore(STORING_AT_ONCE)
        self._lanes: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._failure: BaseException | None = None
        self._looked_s = self._clock.monotonic()
        self._retry_s = RETRY_FIRST_S

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            InvalidSettings: The work folder is in use by another process, or cannot be used.
        """
        lock = await asyncio.to_thread(own, self._folder)
        try:
            consumer = await self._bus.subscribe(GROUP, [MEDIA.name], on_gained=self._gained, on_lost=self._lost)
            try:
                while True:
                    await self._round(consumer)
            finally:
                await self._leave(consumer)
        finally:
            os.close(lock)

    def committed(self) -> dict[TopicPartition, int]:
        """Return how far each partition is done with, as committed: liveness is that this moves on."""
        known = {place: partition.committed for place, partition in self._partitions.items()}
        return {place: offset for place, offset in known.items() if offset is not None}

    async def _round(self, consumer: Consumer) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            await self._restart_dropped(consumer)
            await self._tell_rejects()
            await self._take(consumer)
            await self._commit(consumer)
            await self._end_silent()
            self._retry_s = RETRY_FIRST_S
        except (BusUnavailable, CatalogUnavailable) as error:
            _note(error)
            await asyncio.sleep(self._longer())

    # Step 1

    async def _take(self, consumer: Consumer) -> None:
        if self._full():
            await self._wait_for_room(consumer)
            return
        records = await consumer.take(max_bytes=TAKE_BYTES, within_s=TAKE_WITHIN_S)
        self._show_lag(records)
        batches: dict[TopicPartition, list[Record]] = {}
        for record in records:
            batches.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        for place, batch in batches.items():
            partition = self._partitions.get(place)
            if partition is not None and partition.alive:
                await self._gather(consumer, partition, batch)

    async def _gather(self, consumer: Consumer, partition: Partition, batch: list[Record]) -> None:
        entries = [read(record) for record in batch]
        if partition.committed is None:
            partition.committed = batch[0].offset
        try:
            for recorder_id, feed_id in partition.unknown_feeds(entries):
                stored = await self._catalog.stored_ranges(recorder_id, feed_id)
                partition.learn(recorder_id, feed_id, stored)
        except CatalogUnavailable:
            await consumer.seek(partition.place, batch[0].offset)
            raise
        try:
            closed = await asyncio.to_thread(partition.gather, entries, self._clock.monotonic())
        except OSError as error:
            await self._give_up(partition, error)
            return
        self._step_done(1)
        for deposit in closed:
            self._send_off(partition, deposit)

    async def _give_up(self, partition: Partition, error: Exception) -> None:
        """Part files that cannot be written or trusted are made again from the log, a little later."""
        logger.error("%s: gathering again from the log: %s", partition.place, error)
        metrics.FAILURES.labels(type(error).__name__).inc()
        await asyncio.to_thread(partition.drop)

    async def _restart_dropped(self, consumer: Consumer) -> None:
        dropped = [one for one in self._partitions.values() if not one.alive]
        if not dropped:
            return
        await asyncio.sleep(self._longer())
        for old in dropped:
            if self._partitions.get(old.place) is not old:
                continue
            await asyncio.to_thread(old.drop)
            new = Partition(old.place, self._folder, self._bounds)
            new.committed = old.committed
            if old.committed is not None:
                await consumer.seek(old.place, old.committed)
            self._partitions[old.place] = new

    def _full(self) -> bool:
        waiting = [partition.waiting() for partition in self._partitions.values()]
        size = sum(size for _, size in waiting)
        metrics.WAITING.set(size)
        return size >= self._max_waiting_bytes or sum(count for count, _ in waiting) >= MAX_WAITING_SEGMENTS

    async def _wait_for_room(self, consumer: Consumer) -> None:
        self._room.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), KEEP_ALIVE_S)
            return
        records = await consumer.take(max_records=1, within_s=0.0)
        self._show_lag(records)
        for record in records:
            await consumer.seek(TopicPartition(record.topic, record.partition), record.offset)

    def _show_lag(self, records: list[Record]) -> None:
        oldest = min((record.timestamp for record in records), default=None)
        metrics.LAG_SECONDS.set(0 if oldest is None else max(0, self._clock.now() - oldest) / 1000)

    # Steps 2 to 7

    def _send_off(self, partition: Partition, deposit: Deposit) -> None:
        """Queue a closed segment behind its recorder's others; recorders are stored beside each other."""
        recorder_id = deposit.segment.recorder_id
        lane = partition.lanes.get(recorder_id)
        if lane is not None:
            lane.append(deposit)
            return
        partition.lanes[recorder_id] = deque([deposit])
        task = asyncio.create_task(self._work_off(partition, recorder_id), name=f"store {recorder_id}")
        self._lanes.add(task)
        task.add_done_callback(self._lane_over)

    async def _work_off(self, partition: Partition, recorder_id: str) -> None:
        lane, retry_s = partition.lanes[recorder_id], RETRY_FIRST_S
        began = self._clock.monotonic()
        while lane and partition.alive:
            async with self._slots:
                done = await self._try(partition, lane[0])
            if not done:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_LAST_S)
                continue
            lane.popleft()
            self._room.set()
            metrics.STORE_SECONDS.observe(self._clock.monotonic() - began)
            began, retry_s = self._clock.monotonic(), RETRY_FIRST_S
        for deposit in lane:
            deposit.part.drop()
        del partition.lanes[recorder_id]

    async def _try(self, partition: Partition, deposit: Deposit) -> bool:
        """Take one segment through; False where it must be tried again."""
        try:
            await self._store(deposit)
        except (SourceDamaged, OSError) as error:
            partition.alive = False
            logger.error("%s: %s", partition.place, error)
        except IntegrityError as error:
            return await self._set_aside(deposit, error)
        except (Unavailable, Refused) as error:
            _note(error)
            return False
        return partition.alive

    async def _store(self, deposit: Deposit) -> None:
        row = await deposit.run(self._depot)
        if deposit.unattested:
            metrics.FAILURES.labels("LedgerAltered").inc()
            logger.critical("%s: stored and locked, but not in the ledger: %s", row.key, deposit.unattested)
        if deposit.hidden:
            await self._tell(alarm(row))
        await self._bus.publish(EVENTS.name, row.recorder_id, encode(announcement(row)))
        await self._catalog.announced(row.key)
        self._step_done(7)
        metrics.SEGMENTS.inc()
        metrics.STORED_BYTES.inc(row.bytes)

    async def _set_aside(self, deposit: Deposit, error: IntegrityError) -> bool:
        """A segment that cannot be stored as evidence: say so, keep its bytes for a person, let the others go on."""
        segment, at = deposit.segment, self._clock.now()
        headers = _headers("segment_refused", str(error), deposit.key)
        try:
            await self._tell(Integrity(at=at, recorder_id=segment.recorder_id, key=deposit.key, fault="altered"))
            await self._bus.publish(REJECTED.name, segment.recorder_id, b"", headers=headers)
        except BusUnavailable as unavailable:
            _note(unavailable)
            return False
        metrics.count_rejected("segment_refused")
        with suppress(FileNotFoundError):
            kept = await asyncio.to_thread(deposit.part.set_aside, self._folder.parent / "quarantine")
            logger.critical("%s; its bytes are kept in %s", error, kept)
        return True

    def _lane_over(self, task: asyncio.Task[None]) -> None:
        self._lanes.discard(task)
        self._room.set()
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()

    # Step 8

    async def _commit(self, consumer: Consumer) -> None:
        ready = {place: one.committable() for place, one in self._partitions.items()}
        offsets = {place: offset for place, offset in ready.items() if offset is not None}
        if not offsets:
            return
        await consumer.commit(offsets)
        for place, offset in offsets.items():
            if place in self._partitions:
                self._partitions[place].committed = offset
        self._step_done(8)

    # Beside the steps

    async def _tell_rejects(self) -> None:
        for partition in list(self._partitions.values()):
            while partition.rejects:
                await self._tell_reject(partition.rejects[0])
                partition.rejects.popleft()

    async def _tell_reject(self, reject: Reject) -> None:
        record = reject.record
        headers = _headers(reject.reason, reject.detail, source_of(record))
        if EVENT_HEADER in record.headers:
            headers[EVENT_HEADER] = record.headers[EVENT_HEADER]
        if reject.alarm is not None:
            await self._tell(reject.alarm)
        data = (record.value or b"")[:MAX_REJECTED_BYTES]
        await self._bus.publish(REJECTED.name, record.key, data, headers=headers)
        metrics.count_rejected(reject.reason)

    async def _tell(self, event: Integrity) -> None:
        await self._bus.publish(EVENTS.name, event.recorder_id, encode(event))

    async def _end_silent(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < min(LOOK_FOR_SILENCE_S, self._quiet_s):
            return
        self._looked_s = now_s
        for partition in list(self._partitions.values()):
            silent = partition.silent(now_s - self._quiet_s)
            if silent and (await self._bus.bounds(partition.place))[1] == partition.position:
                for segment in silent:
                    await self._end_feed(segment)
                    partition.heard(segment, now_s)

    async def _end_feed(self, segment: Segment) -> None:
        logger.warning("feed %s of %s fell silent; ending it", segment.feed_id, segment.recorder_id)
        headers = {FEED_END_HEADER: segment.feed_id.encode()}
        await self._bus.publish(MEDIA.name, segment.recorder_id, b"", headers=headers)

    async def _gained(self, places: frozenset[TopicPartition]) -> None:
        for place in places:
            self._partitions[place] = Partition(place, self._folder, self._bounds)

    async def _lost(self, places: frozenset[TopicPartition]) -> None:
        for place in places:
            partition = self._partitions.pop(place, None)
            if partition is not None:
                await asyncio.to_thread(partition.drop)

    async def _leave(self, consumer: Consumer) -> None:
        await self._lost(frozenset(self._partitions))
        for task in self._lanes:
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        await consumer.close()

    def _longer(self) -> float:
        wait_s, self._retry_s = self._retry_s, min(2 * self._retry_s, RETRY_LAST_S)
        return wait_s


def _headers(reason: str, detail: str, source: str) -> dict[str, bytes]:
    return {
        REASON_HEADER: reason.encode(),
        DETAIL_HEADER: detail.encode()[:2000],
        SOURCE_HEADER: source.encode(),
    }


def _note(error: Exception) -> None:
    logger.warning("%s: %s", type(error).__name__, error)
    metrics.FAILURES.labels(type(error).__name__).inc()
