"""The notifier's loop: findings on the log become alerts and entries of the outbox.

1. Take a batch of `findings`.
2. Write alerts, findings, history, messages and outbox in one transaction (`dashboards.alerts.book`).
3. Commit the offsets.
4. Do what is due: send what waited for company, escalate, resolve what held.

A crash between 2 and 3 repeats the batch: what was heard of a finding is in the database, so it changes nothing. While
the office is away the batch waits, and the log keeps the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from dashboards.alerts.book import Book
from dashboards.alerts.origins import Origins
from dashboards.alerts.signal import Signal, of_finding
from domain.bus import Bus, Consumer, Record, TopicPartition
from domain.clock import Clock
from domain.errors import BusUnavailable, InvalidEvent, OfficeUnavailable
from domain.topics import FINDINGS
from domain.wire import decode_finding

GROUP = "notify"
MAX_BATCH = 500
WITHIN_S = 0.1
TURN_S = 0.1
"""Least time between two turns that wrote something: what comes meanwhile goes into one transaction."""
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Notifier:
    """See the module.

    Args:
        bus: The log, started.
        book: Where alerts are written.
        origins: Where recorders belong; run beside this.
        clock: The time.
        ring: Called when there is something to send.
    """

    def __init__(self, bus: Bus, book: Book, origins: Origins, clock: Clock, ring: Callable[[], None]) -> None:
        self._bus, self._book, self._origins, self._clock, self._ring = bus, book, origins, clock, ring
        self._signals: list[Signal] = []
        self._offsets: dict[TopicPartition, int] = {}
        self._log_at: int | None = None
        self._wrote_s = float("-inf")
        self.unreadable = 0

    async def run(self) -> None:
        """Follow the findings until cancelled.

        Raises:
            BusUnavailable: The group could not be joined.
        """
        await self._origins.caught_up.wait()
        consumer = await self._bus.subscribe(GROUP, [FINDINGS.name])
        try:
            while True:
                await self._turn(consumer)
        finally:
            await consumer.close()

    async def _turn(self, consumer: Consumer) -> None:
        try:
            if not self._offsets:
                await asyncio.sleep(max(0.0, self._wrote_s + TURN_S - self._clock.monotonic()))
                self._read(await consumer.take(MAX_BATCH, WITHIN_S))  # step 1
            await self._write(consumer)
            if await self._book.advance(self._now()):  # step 4
                self._ring()
        except (BusUnavailable, OfficeUnavailable) as error:
            log.warning("notify: %s; trying again in %g s", error, RETRY_S)
            await asyncio.sleep(RETRY_S)

    def _read(self, records: Sequence[Record]) -> None:
        for record in records:
            self._offsets[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if record.value is None:
                continue
            try:
                finding = decode_finding(record.value)
            except InvalidEvent as error:
                self.unreadable += 1
                log.warning("notify: %s/%d at %d: %s", record.topic, record.partition, record.offset, error)
                continue
            self._signals.append(of_finding(finding, self._origins.of(finding.recorder_id)))
        # Behind the log, what is due is judged by the log's time: what stands in it next may change it.
        self._log_at = int(records[-1].timestamp) if len(records) >= MAX_BATCH else None

    async def _write(self, consumer: Consumer) -> None:
        if self._signals:
            if await self._book.take(self._signals, int(self._clock.now())):  # step 2
                self._ring()
            self._signals, self._wrote_s = [], self._clock.monotonic()
        if self._offsets:
            offsets: Mapping[TopicPartition, int] = dict(self._offsets)
            await consumer.commit(offsets)  # step 3
            self._offsets = {}

    def _now(self) -> int:
        now = int(self._clock.now())
        return now if self._log_at is None else min(now, self._log_at)
