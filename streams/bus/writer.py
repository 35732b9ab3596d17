"""The one thread that writes the embedded log: what is waiting goes to the disk together, under one sync a part."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from domain.bus import Position
from domain.clock import Instant
from domain.errors import BusUnavailable
from streams.bus.framing import Entry
from streams.bus.partition import PartitionLog

logger = logging.getLogger(__name__)

_BATCH_BYTES = 16_000_000


class Append(NamedTuple):
    """A publish on its way.

    Attributes:
        log: Where it goes.
        entry: What goes there.
        done: Resolved on the event loop: a `Position`, or BusUnavailable.
        size_bytes: What it takes of the room in flight.
    """

    log: PartitionLog
    entry: Entry
    done: asyncio.Future[Position]
    size_bytes: int


class Roll(NamedTuple):
    """A wish to close parts that are past their age."""

    logs: Sequence[PartitionLog]
    now: Instant


Outcome = Position | BusUnavailable
Settle = Callable[[list[tuple[Append, Outcome]]], None]


class Writer:
    """Takes appends in the order they were put, and settles each when it is durable or has failed.

    The queue is unbounded by itself: `EmbeddedBus` lets in only so many bytes at a time.

    Args:
        settle: Called in the writer's thread with each batch's outcomes.
    """

    def __init__(self, settle: Settle) -> None:
        self._settle = settle
        self._queue: SimpleQueue[Append | Roll | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="liuhen-log-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, wanted: Append | Roll) -> None:
        """Hand over work; never blocks."""
        self._queue.put(wanted)

    def stop(self) -> None:
        """Write what was put before, then end; blocks."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            batch: dict[PartitionLog, list[Append]] = {}
            running = self._gather(batch)
            if batch:
                self._settle(_write(batch))

    def _gather(self, batch: dict[PartitionLog, list[Append]]) -> bool:
        """Wait for work, take all that is there; False when told to stop."""
        wanted = self._queue.get()
        size_bytes = 0
        try:
            while True:
                if wanted is None:
                    return False
                if isinstance(wanted, Roll):
                    _roll(wanted)
                    return True
                batch.setdefault(wanted.log, []).append(wanted)
                size_bytes += wanted.size_bytes
                if size_bytes >= _BATCH_BYTES:
                    return True
                wanted = self._queue.get_nowait()
        except Empty:
            return True


def _roll(wanted: Roll) -> None:
    for log in wanted.logs:
        try:
            log.roll_if_old(wanted.now)
        except OSError as error:
            logger.error("%s: cannot begin a new part: %s", log.directory, error)
            log.abandon(sync_failed=False)


def _write(batch: dict[PartitionLog, list[Append]]) -> list[tuple[Append, Outcome]]:
    """Append to every partition, then sync every partition: the numbers of `docs/design/log.md`, "Append"."""
    outcomes: list[tuple[Append, Outcome]] = []
    written: list[tuple[PartitionLog, list[Append], int]] = []
    for log, appends in batch.items():
        try:
            first = log.append([append.entry for append in appends])
        except OSError as error:
            outcomes += _failed(log, appends, error, sync_failed=False)
        else:
            written.append((log, appends, first))
    for log, appends, first in written:
        try:
            log.sync()
        except OSError as error:
            outcomes += _failed(log, appends, error, sync_failed=True)
        else:
            topic, partition = log.topic.name, log.partition
            outcomes += [(append, Position(topic, partition, first + n)) for n, append in enumerate(appends)]
    return outcomes


def _failed(
    log: PartitionLog, appends: list[Append], error: OSError, *, sync_failed: bool
) -> list[tuple[Append, Outcome]]:
    doing = "sync" if sync_failed else "write to"
    reason = BusUnavailable(f"{log.topic.name}-{log.partition}: cannot {doing} {log.directory}: {error.strerror}")
    logger.error("%s; %d records not acknowledged", reason, len(appends))
    try:
        log.abandon(sync_failed=sync_failed)
    except OSError as second:
        logger.error("%s: %s", log.directory, second)  # the descriptor is gone all the same
    return [(append, reason) for append in appends]
