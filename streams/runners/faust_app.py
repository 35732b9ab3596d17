"""The detectors under Faust, on Kafka. The only module that imports Faust.

Faust brings the group, the fetching and the commits; what it does not keep through kills and rebalances is done here
(each was seen to fail with its own means): outputs are acknowledged before states are saved, states before offsets are
acked; states live in a changelog of our own, because Faust's tables choose the partition from the current event; and
offsets must run without holes, because after a recovery Faust hands over events beyond the committed offset.

Whatever goes wrong ends the process, and its supervisor starts it again. Steps are those of `streams.runners.outputs`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import faust

from detectors.recorder import Rules
from domain.bus import Bus, TopicPartition
from domain.topics import EVENTS, FINDINGS, REJECTED
from streams.bus.kafka_driver import MESSAGE_MAX_BYTES
from streams.runners import metrics, outputs
from streams.runners.changelog import Changelog, restore
from streams.runners.engine import Input, Partition
from streams.runners.outputs import Output

GROUP = "detect-faust"
BATCH_RECORDS = 500
WITHIN_S = 0.02
LOOK_EVERY_S = 1.0
SAVE_EVERY_S = 10.0
SAVE_RECORDS = 20_000
"""States of a partition are saved so often: what a crash repeats, at most."""
SEND_TIMEOUT_S = 60.0
STUCK_S = 30.0
"""Without a save for so long, `/healthz` says so."""
STANDSTILL_S = 20.0
"""A partition held whose events go on while its offset does not for so long ends the process."""
WORK_TIMEOUT_S = 120.0
EXIT_TROUBLE = 70
"""Exit code (sysexits EX_SOFTWARE) on anything but being asked to stop."""

_log = logging.getLogger(__name__)


class HoleError(Exception):
    """Events between the last one counted in and this one were not handed over."""


class StandstillError(Exception):
    """Events are there, and are not handed over."""


class _Held:
    """A partition in hand, as long as the group's generation lasts.

    Attributes:
        generation: Of the group.
        partition: Its states.
        changelog: Where they are saved.
        unacked: Events counted in since they were.
        saved_at: When they were, on the monotonic clock.
    """

    def __init__(self, generation: int, partition: Partition, changelog: Changelog) -> None:
        self.generation = generation
        self.partition = partition
        self.changelog = changelog
        self.unacked: list[Any] = []
        self.saved_at = time.monotonic()


class FaustDetect:
    """One worker process.

    Args:
        bootstrap: `host:port[,host:port…]` of the brokers.
        bus: The log on the same brokers, not yet started; reads the changelog.
        rules: Detectors and thresholds.
        group: Consumer group, and Faust's app id.
        data_dir: Where Faust may keep files.
    """

    def __init__(self, bootstrap: str, bus: Bus, rules: Rules, *, group: str = GROUP, data_dir: str) -> None:
        self._bus = bus
        self._rules = rules
        self._held: dict[int, _Held] = {}
        self._counts: dict[str, int] = {}
        self._progress: dict[int, tuple[int | None, float]] = {}
        self._busy = asyncio.Lock()  # the agent and the timer take turns
        self._alive_at = time.monotonic()
        self.app = faust.App(
            group,
            broker=[f"kafka://{host}" for host in bootstrap.split(",")],
            broker_commit_interval=1.0,
            broker_heartbeat_interval=1.5,
            broker_session_timeout=6.0,
            broker_request_timeout=30.0,
            consumer_auto_offset_reset="earliest",
            datadir=data_dir,
            key_serializer="raw",
            producer_acks=-1,
            producer_compression_type=None,
            producer_max_request_size=MESSAGE_MAX_BYTES,  # what cannot be read may be as long as a record can be
            processing_guarantee="at_least_once",
            store="memory://",
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            value_serializer="raw",
            web_enabled=False,
        )
        raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
        events = self.app.topic(EVENTS.name, key_type=bytes, value_type=bytes, **raw)
        self.app.agent(events, name="detect", concurrency=1)(self._detect)
        self.app.timer(interval=LOOK_EVERY_S)(self._save_in_time)
        self.app.on_partitions_revoked.connect(self._lose, weak=False)

    def trouble(self) -> str:
        """Say what is wrong, empty if nothing is; may be asked from any thread."""
        silent_s = time.monotonic() - self._alive_at
        return f"nothing has been done for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    async def _detect(self, stream: Any) -> None:
        try:
            await self._start()
            async for events in stream.noack_take(BATCH_RECORDS, within=WITHIN_S):  # step 1
                async with self._busy, asyncio.timeout(WORK_TIMEOUT_S):
                    for batch in _runs(events):
                        await self._work(batch)
        except asyncio.CancelledError:
            raise
        except Exception:
            # An agent that raises would have its events acked: this process must not live on.
            _die()

    async def _save_in_time(self) -> None:
        try:
            async with self._busy:
                self._alive_at = time.monotonic()
                async with asyncio.timeout(WORK_TIMEOUT_S):
                    for number, held in list(self._held.items()):
                        if self._alive_at - held.saved_at >= SAVE_EVERY_S:
                            await self._save(number, held)
                    await self._check_progress()
        except asyncio.CancelledError:
            raise
        except Exception:
            _die()

    async def _lose(self, _: Any, /, *revoked: Any, **__: Any) -> None:
        """Others go on from what is saved; what is not, they do again with the same result."""
        for place in revoked[0]:
            if place.topic == EVENTS.name and self._held.pop(place.partition, None) is not None:
                metrics.lost(place.partition)

    async def _start(self) -> None:
        if not self._counts:
            await self._bus.start()
            self._counts = {topic.name: self._bus.partitions(topic.name) for topic in (FINDINGS, REJECTED)}

    async def _work(self, batch: Sequence[Any]) -> None:
        number = batch[0].message.partition
        held = await self._hold(number, batch[0].message.generation_id or 0)
        partition = held.partition
        await self._check_holes(number, partition.offset + 1, [event.message.offset for event in batch])
        outcome = partition.run([Input(event.message.offset, event.message.value) for event in batch])  # step 2
        await self._send(outputs.said(outcome, number, self._counts))  # step 3
        partition.fold(outcome)  # step 4
        held.unacked += batch
        if self._held.get(number) is held:
            metrics.counted(number, len(batch), outcome, len(partition))
        if len(held.unacked) >= SAVE_RECORDS:
            await self._save(number, held)

    async def _save(self, number: int, held: _Held) -> None:
        events, held.unacked, held.saved_at = held.unacked, [], time.monotonic()
        if not events or self._held.get(number) is not held:
            return
        save = held.partition.save()
        await self._send(held.changelog.states(save))  # step 5
        await self._send([held.changelog.checkpoint(save)])
        await self._send(held.changelog.outdated(save))
        for event in events:
            event.ack()  # step 6

    async def _hold(self, number: int, generation: int) -> _Held:
        """Return a partition's states, read anew in each generation of the group."""
        known = self._held.get(number)
        if known is None or known.generation < generation:
            known = _Held(generation, *await restore(self._bus, number, self._rules))
            self._held[number] = known
        return known

    async def _check_progress(self) -> None:
        """After a rebalance Faust may hold a partition and fetch nothing of it."""
        now = time.monotonic()
        assigned = {place.partition for place in self.app.consumer.assignment() if place.topic == EVENTS.name}
        self._progress = {number: seen for number, seen in self._progress.items() if number in assigned}
        for number in assigned:
            held = self._held.get(number)
            offset = held.partition.offset if held is not None else -1
            seen_offset, seen_at = self._progress.get(number, (None, now))
            if offset == seen_offset and now - seen_at < STANDSTILL_S:
                continue
            if offset == seen_offset:
                await self._check_standstill(number, held)
            self._progress[number] = (offset, now)

    async def _check_standstill(self, number: int, held: _Held | None) -> None:
        partition = held.partition if held is not None else (await restore(self._bus, number, self._rules))[0]
        _, end = await self._bus.bounds(TopicPartition(EVENTS.name, number))
        if partition.offset + 1 < end:
            msg = f"events/{number} goes to {end}, and nothing came after {partition.offset} for {STANDSTILL_S:.0f} s"
            raise StandstillError(msg)

    async def _check_holes(self, number: int, wanted: int, offsets: Sequence[int]) -> None:
        for offset in offsets:
            if offset > wanted:
                oldest, _ = await self._bus.bounds(TopicPartition(EVENTS.name, number))
                if offset > max(oldest, wanted):
                    msg = f"events/{number}: {offset} came where {wanted} should"
                    raise HoleError(msg)
            wanted = max(wanted, offset + 1)

    async def _send(self, records: Iterable[Output]) -> None:
        """Send in order, and wait for every delivery. Past Faust's topics, whose layers cost more than the sending."""
        producer = await self.app.maybe_start_producer()
        futures = [
            await producer.send(
                record.topic,
                record.key.encode() if record.key is not None else None,
                record.value,
                record.partition,
                None,
                dict(record.headers),
            )
            for record in records
        ]
        async with asyncio.timeout(SEND_TIMEOUT_S):
            for future in futures:
                await future


def _runs(events: Iterable[Any]) -> list[list[Any]]:
    """Split a batch by partition and generation, each in its order and without holes."""
    runs: dict[tuple[int, int], list[Any]] = {}
    for event in events:
        runs.setdefault((event.message.generation_id or 0, event.message.partition), []).append(event)
    return [runs[key] for key in sorted(runs)]


def _die() -> NoReturn:
    """End at once: Faust's own way of stopping hangs when asked from inside an agent."""
    traceback.print_exc()
    _log.critical("detect ends: see the traceback")
    logging.shutdown()
    os._exit(EXIT_TROUBLE)


def run(worker: FaustDetect, *, log_level: str = "WARNING") -> NoReturn:
    """Work until SIGTERM or SIGINT, then end the process; exit code 0 only if it was asked to.

    Args:
        worker: The worker.
        log_level: Of Faust's own log.
    """
    faust.Worker(worker.app, loglevel=log_level, redirect_stdouts=False, quiet=True).execute_from_commandline()
    raise SystemExit(0)


__all__ = ["FaustDetect", "HoleError", "run"]
