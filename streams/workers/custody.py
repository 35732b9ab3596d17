"""The custody worker: what the log says about evidence becomes entries of the ledger, and what they demand is done.

For each batch of topics `events` and `findings`:

1. **Say**: append an entry for every gap, explanation, later delivery and fault, and for a segment that the ledger did
   not take when it was stored.
2. **Do**: holds and classes, by `storage.retention`, which says them in the ledger first.
3. **Commit** the offsets.

A crash after any of them repeats it and changes nothing: entries are known by their id. Beside that it does chores
at their times: checkpoints and their copies, expiry, verification, the copy off site. Chores are done by whoever holds
the first partition of `events`, so that several of these workers do each once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from domain.bus import Bus, Consumer, Record, TopicPartition
from domain.clock import Clock
from domain.errors import InvalidEvent, InvalidInput, LiuhenError
from domain.events import AnyEvent, Integrity, SegmentStored
from domain.findings import Finding
from domain.topics import (
    DETAIL_HEADER,
    EVENTS,
    FINDINGS,
    MAX_REJECTED_BYTES,
    REASON_HEADER,
    REJECTED,
    SOURCE_HEADER,
)
from domain.wire import decode_event, decode_finding, encode
from storage.catalog.catalog import Catalog
from storage.ledger.entry import Entry, segment_id
from storage.ledger.keeper import Keeper
from storage.ledger.ledger import Ledger
from storage.ledger.segment import entry_of
from storage.retention.expiry import Expiry
from storage.retention.retention import Retention
from streams.metrics import REJECTED as REJECTED_COUNT
from streams.workers import custody_entries as entries
from streams.workers import custody_metrics as metrics

GROUP = "custody"
TAKE_RECORDS = 2_000
GATHER_S = 1.0
"""What comes within it goes to the ledger together; nobody waits for this worker."""
MAX_SHORT, MAX_KEPT = 500, 40
"""Characters of a value, and values, that stay of a body that is too long for the ledger."""
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 30.0
LEDGER = "ledger"
"""What stands for the ledger where the log asks for a recorder and a key."""

logger = logging.getLogger(__name__)


class Chore(msgspec.Struct, frozen=True):
    """Something done again and again.

    Attributes:
        name: For metrics and messages.
        every_s: Pause between its end and its next beginning.
        run: Does it; whatever it raises is said, and it is tried again after a pause.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[None]]


class CustodyWorker:
    """Runs until cancelled; several share the partitions as one consumer group.

    Args:
        bus: The log, started.
        catalog: Has the rows of segments that the ledger did not take.
        ledger: Where everything is said.
        retention: Does what holds and classes demand.
        chores: Done by one worker at a time.
    """

    def __init__(
        self, bus: Bus, catalog: Catalog, ledger: Ledger, retention: Retention, chores: Sequence[Chore]
    ) -> None:
        self._bus = bus
        self._catalog = catalog
        self._ledger = ledger
        self._retention = retention
        self._chores = chores
        self._consumer: Consumer | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        self._consumer = await self._bus.subscribe(GROUP, [EVENTS.name, FINDINGS.name])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(self._consumer), name="custody")
                for chore in self._chores:
                    group.create_task(self._keep_doing(chore), name=f"custody {chore.name}")
        finally:
            await self._consumer.close()

    async def absorb(self, records: Sequence[Record]) -> None:
        """Do steps 1 and 2 for a batch.

        Raises:
            LiuhenError: Not all of it is done; absorb the batch again.
        """
        said = [(record, one) for record in records if (one := _read(record)) is not None]
        found = [_fitting(entry, record) for record, one in said if (entry := _entry(one)) is not None]
        missed = [await self._missed(one) for _, one in said if isinstance(one, SegmentStored)]
        found += [entry for entry in missed if entry is not None]
        if found:
            await self._ledger.append(found)
        for record, one in said:
            await self._do(record, one)

    async def _do(self, record: Record, said: AnyEvent | Finding) -> None:
        """Step 2 for one; what the ledger cannot take is rejected, so that it stands in nobody's way."""
        try:
            if isinstance(said, Finding):
                await self._retention.apply_finding(said)
            else:
                await self._retention.apply(said)
        except InvalidInput as error:
            logger.warning("custody: %s/%d/%d: %s", record.topic, record.partition, record.offset, error)
            headers = {
                REASON_HEADER: b"custody_refused",
                DETAIL_HEADER: str(error).encode()[:2000],
                SOURCE_HEADER: f"{record.topic}/{record.partition}/{record.offset}".encode(),
            }
            await self._bus.publish(
                REJECTED.name, record.key, (record.value or b"")[:MAX_REJECTED_BYTES], headers=headers
            )
            REJECTED_COUNT.labels("custody_refused").inc()

    async def _follow(self, consumer: Consumer) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            records: list[Record] = []
            try:
                records = await consumer.take(max_records=TAKE_RECORDS, within_s=GATHER_S)
                await self.absorb(records)
                await consumer.commit(_ends(records))
                retry_s = RETRY_FIRST_S
            except LiuhenError as error:
                metrics.FAILURES.labels("follow").inc()
                logger.warning("custody: %s: %s; again in %.1f s", type(error).__name__, error, retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_LAST_S)
                await _go_back(consumer, records)
                continue
            if len(records) < TAKE_RECORDS:
                await asyncio.sleep(GATHER_S)

    async def _missed(self, event: SegmentStored) -> Entry | None:
        if (
            await self._ledger.find(segment_id(event.recorder_id, event.session_id, event.key, event.sha256))
            is not None
        ):
            return None
        row = await self._catalog.get_segment(event.key)
        return None if row is None else entry_of(row)

    async def _keep_doing(self, chore: Chore) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            if not self._leads():
                await asyncio.sleep(GATHER_S)
                continue
            try:
                await chore.run()
            except LiuhenError as error:
                metrics.FAILURES.labels(chore.name).inc()
                logger.warning("%s: %s: %s", chore.name, type(error).__name__, error)
                await asyncio.sleep(min(retry_s, chore.every_s))
                retry_s = min(2 * retry_s, RETRY_LAST_S)
                continue
            retry_s = RETRY_FIRST_S
            metrics.LAST_RUN.labels(chore.name).set_to_current_time()
            await asyncio.sleep(chore.every_s)

    def _leads(self) -> bool:
        return self._consumer is not None and TopicPartition(EVENTS.name, 0) in self._consumer.assigned()


class Checkpoints:
    """The chore that keeps the ledger provable, and says on the log when it is not what it was.

    Args:
        keeper: Makes checkpoints and carries them away.
        ledger: The ledger.
        bus: The log.
        clock: For the event.
    """

    def __init__(self, keeper: Keeper, ledger: Ledger, bus: Bus, clock: Clock) -> None:
        self._keeper = keeper
        self._ledger = ledger
        self._bus = bus
        self._clock = clock
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Do one turn.

        Raises:
            LiuhenError: The ledger did not answer, or the log did not take what had to be said.
        """
        state = await self._keeper.turn()
        metrics.ENTRIES.set(await self._ledger.size())
        metrics.show(state)
        for step, trouble in state.troubles.items():
            logger.warning("ledger: %s: %s", step, trouble)
        faults = frozenset(f"{step}: {fault}" for step, fault in state.faults.items())
        for fault in sorted(faults - self._told):
            logger.critical("the ledger is not what it was: %s", fault)
            event = Integrity(at=self._clock.now(), recorder_id=LEDGER, key=LEDGER, fault="ledger")
            await self._bus.publish(EVENTS.name, LEDGER, encode(event))
        self._told = faults


class Expiries:
    """The chore that deals with what has come to its end."""

    def __init__(self, expiry: Expiry, clock: Clock) -> None:
        self._expiry = expiry
        self._clock = clock

    async def run(self) -> None:
        """Look at everything once.

        Raises:
            LiuhenError: A part is away; the next run goes on.
        """
        for outcome, count in (await self._expiry.run(self._clock.now())).items():
            metrics.EXPIRED.labels(outcome).inc(count)


def _read(record: Record) -> AnyEvent | Finding | None:
    """Decode what is of interest; what cannot be read is on topic `rejected` already."""
    value = record.value or b""
    try:
        if record.topic == FINDINGS.name:
            return decode_finding(value)
        return decode_event(value) if entries.is_wanted(value) else None
    except InvalidEvent:
        return None


def _entry(said: AnyEvent | Finding) -> Entry | None:
    return entries.of_finding(said) if isinstance(said, Finding) else entries.of_event(said)


def _fitting(entry: Entry, record: Record) -> Entry:
    """Return the entry, or where it is too long for a line one that says what is short of it and hashes the record."""
    try:
        entry.line()
    except InvalidInput as error:
        value = record.value or b""
        whole = {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value), "note": str(error)[:200]}
        return msgspec.structs.replace(entry, body=_short(entry.body) | whole)
    return entry


def _short(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the short values of a body: which gap it is, from when to when, in what state, must never be lost."""
    kept: dict[str, Any] = {}
    for name, value in islice(body.items(), MAX_KEPT):
        if isinstance(value, Mapping):
            kept[name] = _short(value)
        elif not isinstance(value, list) and len(str(value)) <= MAX_SHORT:
            kept[name] = value
    return kept


def _ends(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {TopicPartition(one.topic, one.partition): one.offset + 1 for one in records}


async def _go_back(consumer: Consumer, records: Sequence[Record]) -> None:
    """Take a batch again from its beginning."""
    first: dict[TopicPartition, int] = {}
    for one in records:
        first.setdefault(TopicPartition(one.topic, one.partition), one.offset)
    held = consumer.assigned()
    for place, offset in first.items():
        if place in held:
            await consumer.seek(place, offset)
