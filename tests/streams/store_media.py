"""Fragments for the store: made-up ones of real boxes, put on a log as ingest does."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from domain.bus import Bus, Record, TopicPartition
from domain.clock import Instant
from domain.events import AnyEvent, Fragment, SegmentStored, SessionEnded
from domain.settings import Settings
from domain.wire import decode_event, encode
from storage.catalog.catalog import Catalog
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect
from storage.objects.port import ObjectStore
from streams.bus.embedded import EmbeddedBus
from streams.workers.store import StoreWorker

T0 = Instant.parse("2036-05-04T08:00:00+08:00")
"""Far ahead, so that its locks are never over."""


def box(kind: bytes, payload: bytes) -> bytes:
    return (8 + len(payload)).to_bytes(4, "big") + kind + payload


def media(recorder: str, feed: str, seq: int, size: int = 5000) -> bytes:
    """A fragment that no player plays, of boxes that are right."""
    noise = random.Random(f"{recorder}/{feed}/{seq}").randbytes(size)
    init = box(b"ftyp", b"iso6") + box(b"moov", recorder.encode() * 20)
    return init + box(b"moof", seq.to_bytes(8, "big")) + box(b"mdat", noise)


def fragment(recorder: str, feed: str, seq: int, data: bytes, *, session: str = "s1", seconds: float = 2.0) -> Fragment:
    at = T0.plus(round(seq * seconds * 1000))
    return Fragment(
        at=at.plus(2500),
        recorder_id=recorder,
        session_id=session,
        feed_id=feed,
        seq=seq,
        captured_at=at,
        duration_s=seconds,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        codec="h264",
    )


async def publish(bus: Bus, event: Fragment, data: bytes, *, starts: bool = False) -> None:
    headers = {"event": encode(event)} | ({"segment": b"1"} if starts else {})
    await bus.publish("media", event.recorder_id, data, headers=headers)


async def publish_feed(bus: Bus, recorder: str, feed: str, seqs: range, *, per_segment: int = 5) -> None:
    for seq in seqs:
        data = media(recorder, feed, seq)
        await publish(bus, fragment(recorder, feed, seq, data), data, starts=seq % per_segment == 0)


async def end_feed(bus: Bus, recorder: str, feed: str) -> None:
    await bus.publish("media", recorder, b"", headers={"feed_end": feed.encode()})


async def end_session(bus: Bus, recorder: str, session: str = "s1") -> None:
    ended = SessionEnded(at=T0, recorder_id=recorder, session_id=session, completed_at=T0)
    await bus.publish("media", recorder, b"", headers={"event": encode(ended)})


async def records(bus: Bus, topic: str) -> list[Record]:
    found: list[Record] = []
    for number in range(bus.partitions(topic)):
        found += [record async for record in bus.read(TopicPartition(topic, number), 0)]
    return found


async def events(bus: Bus) -> list[AnyEvent]:
    return [decode_event(record.value or b"") for record in await records(bus, "events")]


async def stored(bus: Bus) -> list[SegmentStored]:
    return [event for event in await events(bus) if isinstance(event, SegmentStored)]


class Site:
    """A log, a store, a catalogue and a ledger in one directory, and workers on them."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        bus: EmbeddedBus,
        store: ObjectStore,
        catalog: Catalog,
        ledger: Ledger,
    ) -> None:
        self.folder, self.settings, self.bus, self.store = folder, settings, bus, store
        self.catalog, self.ledger = catalog, ledger

    @asynccontextmanager
    async def worker(
        self, *, store: ObjectStore | None = None, step_done: Callable[[int], None] = lambda _: None, **more: float
    ) -> AsyncIterator[StoreWorker]:
        worker = StoreWorker(
            self.bus,
            store or self.store,
            self.catalog,
            self.ledger,
            self.settings,
            step_done=step_done,
            quiet_s=more.get("quiet_s", 30.0),
            max_waiting_bytes=int(more.get("max_waiting_bytes", 512_000_000)),
        )
        task = asyncio.create_task(worker.run())
        try:
            yield worker
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_stored(self, count: int, timeout_s: float = 20) -> list[SegmentStored]:
        deadline = time.monotonic() + timeout_s
        while len(found := await stored(self.bus)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} segments of {count} after {timeout_s} s")
            await asyncio.sleep(0.05)
        return found

    async def until_committed(self, worker: StoreWorker, *, left: int = 0, timeout_s: float = 20) -> None:
        """Wait until all but `left` records of topic media are committed."""
        places = [TopicPartition("media", number) for number in range(self.bus.partitions("media"))]
        ends = {place: (await self.bus.bounds(place))[1] for place in places}
        await until(
            lambda: sum(end - worker.committed().get(place, 0) for place, end in ends.items()) == left,
            f"all but {left} records are committed",
            timeout_s,
        )


async def until(ready: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s in vain until {what}")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def site(folder: Path, *, store: str = "", partitions: int = 2, **more: str) -> AsyncIterator[Site]:
    settings = Settings(
        bus=f"embedded:{folder}/log",
        store=store or f"file:{folder}/store",
        catalog=f"sqlite:///{folder}/catalog.db",
        ledger=f"sqlite:///{folder}/ledger.db",
        work=f"{folder}/work",
    )
    settings = msgspec.structs.replace(settings, **more)
    bus, objects = EmbeddedBus(folder / "log", partitions=partitions), connect(settings)
    await bus.start()
    catalog, ledger = await Catalog.connect(settings.catalog), await Ledger.connect(settings.ledger)
    try:
        yield Site(folder, settings, bus=bus, store=objects, catalog=catalog, ledger=ledger)
    finally:
        await bus.close()
        await objects.close()
        await catalog.close()
        await ledger.close()
