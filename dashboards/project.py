"""The console's consumer loop: log → fleet → catalogue, surviving restarts.

Every console sees the whole fleet, so each reads under a consumer group of its own. The steps, in this order:

1. Take a batch of `events`, `findings` and `registry`.
2. Fold it into the fleet (`dashboards.projection`), and tell those who watch.
3. Write recorders, sessions and findings that changed into the catalogue; its rows may be written again.
4. Save the fold together with its offsets.
5. Commit the offsets.

A crash anywhere repeats work: records at or below a saved offset are skipped by the fold, catalogue rows are
upserts. While the catalogue is away, steps 1 and 2 go on and steps 3 to 5 wait; while the disk is full, 4 and 5 do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from dashboards import saved
from dashboards.projection import Change, Fleet
from dashboards.unwritten import Unwritten
from domain.bus import Bus, Consumer, TopicPartition
from domain.clock import Clock
from domain.errors import BusUnavailable, CatalogUnavailable
from domain.topics import EVENTS, FINDINGS, REGISTRY
from storage.catalog.catalog import Catalog

TOPICS = (REGISTRY.name, EVENTS.name, FINDINGS.name)
SAVE_EVERY_S = 10.0
RETRY_S = 1.0
MAX_UNWRITTEN = 50_000
"""Rows that may wait for the catalogue; beyond it nothing more is taken from the log, which keeps it all."""

log = logging.getLogger(__name__)

OnChanges = Callable[[Sequence[Change]], None]


class Projector:
    """Keeps a `Fleet` up to date with the log.

    Args:
        bus: The log, started.
        clock: For the time between two saves.
        path: File of the saved state, belonging to this console alone.
        catalog: Where recorders, sessions and findings are written; None writes none.
        on_changes: Told of every batch, on the event loop; must not block.
    """

    def __init__(
        self, bus: Bus, clock: Clock, path: Path, catalog: Catalog | None = None, on_changes: OnChanges | None = None
    ) -> None:
        self._bus, self._clock, self._path, self._catalog = bus, clock, path, catalog
        self._on_changes = on_changes or (lambda _changes: None)
        self._saved = saved.load(path)
        self._unwritten = Unwritten()
        self._goal: dict[TopicPartition, int] = {}
        self._last_save_s = clock.monotonic()
        self._retry_at_s = 0.0
        self._dirty = False
        self.fleet = Fleet(self._saved.state)
        self.ready = asyncio.Event()
        """Set once everything that stood in the log at the start has been folded in: figures are right from then."""

    @property
    def waiting(self) -> int:
        """How many rows wait for the catalogue."""
        return len(self._unwritten)

    async def run(self) -> None:
        """Read until cancelled; saves on the way out.

        Raises:
            BusUnavailable: The group could not be joined.
        """
        self._goal = await self._ends()
        consumer = await self._bus.subscribe(self._saved.group, TOPICS)
        try:
            while True:
                await self._turn(consumer)
        finally:
            with contextlib.suppress(BusUnavailable, CatalogUnavailable, OSError):
                await self._persist(consumer)
            await consumer.close()

    async def _turn(self, consumer: Consumer) -> None:
        try:
            if len(self._unwritten) < MAX_UNWRITTEN:
                await self._absorb(consumer)
            elif self._clock.monotonic() < self._retry_at_s:
                await asyncio.sleep(RETRY_S)
            if self._unwritten and self._clock.monotonic() >= self._retry_at_s:
                await self._write()
            if self._dirty and not self._unwritten and self._clock.monotonic() - self._last_save_s >= SAVE_EVERY_S:
                await self._persist(consumer)
        except OSError as error:
            # A full disk must not blind the console: it goes on, and saves when there is room.
            log.warning("console: %s: %s; saving again in %g s", self._path, error, SAVE_EVERY_S)
            self._last_save_s = self._clock.monotonic()
        except (BusUnavailable, CatalogUnavailable) as error:
            log.warning("console: %s; trying again in %g s", error, RETRY_S)
            self._retry_at_s = self._clock.monotonic() + RETRY_S
            if isinstance(error, BusUnavailable) or len(self._unwritten) >= MAX_UNWRITTEN:
                await asyncio.sleep(RETRY_S)

    async def _absorb(self, consumer: Consumer) -> None:
        records = await consumer.take(within_s=0.2)  # step 1
        changes = [change for record in records if (change := self.fleet.apply(record)) is not None]  # step 2
        self._dirty = self._dirty or bool(records)
        for change in changes:
            self._unwritten.add(change, self.fleet)
        self._check_ready()
        if changes:
            self._on_changes(changes)

    async def _write(self) -> None:
        if self._catalog is None:
            self._unwritten = Unwritten()
            return
        await self._unwritten.write(self._catalog)  # step 3

    async def _persist(self, consumer: Consumer) -> None:
        if self._unwritten:
            await self._write()
        content = saved.encode(self._saved)
        offsets = dict(self.fleet.state.offsets)
        await asyncio.to_thread(saved.store, self._path, content)  # step 4
        await consumer.commit({_partition(name): offset for name, offset in offsets.items()})  # step 5
        self._last_save_s, self._dirty = self._clock.monotonic(), False

    async def _ends(self) -> dict[TopicPartition, int]:
        goal = {}
        for topic in TOPICS:
            for number in range(self._bus.partitions(topic)):
                oldest, end = await self._bus.bounds(TopicPartition(topic, number))
                if oldest < end:
                    goal[TopicPartition(topic, number)] = end
        return goal

    def _check_ready(self) -> None:
        if not self.ready.is_set():
            done = (self.fleet.next_offset(*place) >= end for place, end in self._goal.items())
            if all(done):
                self.ready.set()


def _partition(name: str) -> TopicPartition:
    topic, _, number = name.rpartition("/")
    return TopicPartition(topic, int(number))
