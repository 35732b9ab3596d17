"""Readers of topic `media` for people who watch: started when first asked for, gone when nobody asks any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from dashboards.hls.ring import Ring
from domain.bus import Bus, Record, TopicPartition, partition_for
from domain.clock import Clock
from domain.errors import BusUnavailable, InvalidInput, Unavailable
from domain.events import Fragment
from domain.topics import EVENT_HEADER, MEDIA
from domain.wire import decode_event

IDLE_S = 30.0
"""A ring nobody asked for so long is dropped; a partition without rings is no longer read."""
MAX_RINGS = 32
"""Recorders watched through one process at once; at 10 MB a ring. One more is refused."""
LOOK_BACK = 48
"""Records read back from the end of the partition, so that a picture is there at once."""
FIRST_WAIT_S = 6.0
"""How long a first request waits for a first fragment: the longest one, and its way here."""
RETRY_S = 1.0
SEGMENT_HEADER = "segment"

log = logging.getLogger(__name__)


class TooManyRings(Unavailable):
    """As many recorders are watched as one process can hold."""


class _Watched:
    def __init__(self, now_s: float) -> None:
        self.ring = Ring()
        self.asked_s = now_s
        self.filled = asyncio.Event()


class LivePictures:
    """One ring per watched recorder, one reader per partition that has any. Used on one event loop.

    Args:
        bus: The log.
        clock: For the time since the last request.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._watched: dict[int, dict[str, _Watched]] = {}
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._janitor: asyncio.Task[None] | None = None

    @property
    def readers(self) -> int:
        """How many partitions are read now."""
        return len(self._readers)

    def known(self, recorder_id: str) -> Ring | None:
        """Return a ring that is there, and note that it is wanted."""
        partition = partition_for(recorder_id, self._bus.partitions(MEDIA.name))
        found = self._watched.get(partition, {}).get(recorder_id)
        if found is None:
            return None
        found.asked_s = self._clock.monotonic()
        return found.ring

    async def ring(self, recorder_id: str) -> Ring:
        """Return the ring of a recorder, started now if it is not there; may be empty after `FIRST_WAIT_S`.

        Raises:
            TooManyRings: Other recorders take all places.
        """
        self.known(recorder_id)
        watched = self._start(recorder_id)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watched.filled.wait(), FIRST_WAIT_S)
        return watched.ring

    async def close(self) -> None:
        """Stop all readers."""
        tasks = [*self._readers.values(), *([self._janitor] if self._janitor else [])]
        self._readers, self._janitor, self._watched = {}, None, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, recorder_id: str) -> _Watched:
        partition = partition_for(recorder_id, self._bus.partitions(MEDIA.name))
        rings = self._watched.setdefault(partition, {})
        if recorder_id in rings:
            return rings[recorder_id]
        if sum(len(each) for each in self._watched.values()) >= MAX_RINGS:
            raise TooManyRings(f"{MAX_RINGS} recorders are being watched already")
        watched = rings[recorder_id] = _Watched(self._clock.monotonic())
        # The reader begins again further back, for the newcomer; rings that have those fragments pass them over.
        old = self._readers.pop(partition, None)
        if old is not None:
            old.cancel()
        self._readers[partition] = asyncio.create_task(self._read(TopicPartition(MEDIA.name, partition)))
        if self._janitor is None:
            self._janitor = asyncio.create_task(self._tidy())
        return watched

    async def _read(self, place: TopicPartition) -> None:
        start: int | None = None
        while True:
            try:
                if start is None:
                    oldest, end = await self._bus.bounds(place)
                    start = max(oldest, end - LOOK_BACK)
                async for record in self._bus.read(place, start, follow=True):
                    self._take(record)
                    start = record.offset + 1
            except BusUnavailable as error:
                log.warning("live pictures of partition %d: %s; trying again", place.partition, error)
                await asyncio.sleep(RETRY_S)

    def _take(self, record: Record) -> None:
        watched = self._watched.get(record.partition, {}).get(record.key or "")
        if watched is None or not record.value:
            return
        try:
            event = decode_event(record.headers.get(EVENT_HEADER, b""))
            if not isinstance(event, Fragment):
                return
            restarts = record.headers.get(SEGMENT_HEADER) == b"1"
            watched.ring.add(record.offset, event, record.value, restarts=restarts)
        except InvalidInput as error:
            # The store says so on `rejected`; a picture fewer here.
            log.warning("live pictures of %s: record %d: %s", record.key, record.offset, error)
            return
        watched.filled.set()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 6)
            now_s = self._clock.monotonic()
            for partition, rings in list(self._watched.items()):
                for name in [name for name, one in rings.items() if now_s - one.asked_s > IDLE_S]:
                    del rings[name]
                if not rings:
                    del self._watched[partition]
                    self._readers.pop(partition).cancel()
