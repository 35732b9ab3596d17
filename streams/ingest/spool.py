"""The spool: what goes to the log stands on local disk until the log has acknowledged it.

Invariants:

1. `put` returns only when the parcel is on disk (written, then renamed; fsync where asked for), or where the caller
   says that another file gives its records again (`when_safe`). Such a parcel is written when the log has not taken it
   within `WRITE_AFTER_S`, and before any other of its recorder is, so that a restart finds them in order.
2. Parcels of one recorder go to the log in the order of `put`; the records of a parcel in their order.
3. A parcel's file goes only after the log has acknowledged all its records. A crash before that repeats records.
4. Memory is bounded whatever waits: names and sizes, and at most `HELD_BYTES` of contents.
5. Disk is bounded by `max_bytes`. Beyond it media is refused, the newest first to be so, and `put` says it; events have
   a reserve beyond that, and a reserve of real disk blocks for when the file system is full.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import random
from typing import Final

import msgspec

from domain.bus import Bus
from domain.errors import IntegrityError, InvalidInput, LiuhenError, Refused, Unavailable
from domain.ids import check_recorder_id
from domain.topics import MAX_RECORD_BYTES
from streams.ingest import metrics
from streams.ingest.backoff import Backoff
from streams.ingest.journal import SUFFIX as JOURNAL_SUFFIX
from streams.ingest.parcel import Outgoing, pack, rejected, unpack
from streams.ingest.spool_files import beginning, reserve, take_lock, write_file

HELD_BYTES: Final = 32_000_000
"""Contents kept in memory so that they need not be read back; what comes beyond is read when its turn comes."""
WRITE_AFTER_S: Final = 2.0
"""How long a parcel that stands elsewhere on disk may wait for the log unwritten: most never have to be written."""
RESERVE_BYTES: Final = 4_000_000
"""Room for events when media fills all: in the count, and as a file of real blocks that is let go when needed."""
MOST_OWED: Final = 10_000
"""Recorders of which something waits to be told until there is room, some hundred bytes each."""
IN_FLIGHT: Final = 32
"""Recorders whose parcels are on their way to the log at a time; more wait their turn."""
_SUFFIX: Final = ".parcel"
_HEAD_BYTES: Final = 1024
"""What a parcel's file has beside the values of its records, about."""
_log = logging.getLogger(__name__)


class SpoolFull(Unavailable):
    """No room on disk; nothing was taken."""


class _Parcel(msgspec.Struct):
    """What waits: its place in the order, its size, and its records where they are held in memory.

    `when_safe` is None once it stands under `path`; before that its records are held.
    """

    path: Path
    size_bytes: int
    records: list[Outgoing] | None
    put_at_s: float | None
    when_safe: Callable[[], None] | None = None
    sent: int = 0


class Spool:
    """The durable outbox of one ingest worker.

    Args:
        directory: Its own; locked while in use.
        bus: The log.
        max_bytes: Most that may wait.
        fsync: Make each parcel survive a power cut, at the price of a disk flush each.
        first_wait_s: Wait after the log first failed; doubles to `most_wait_s`.
        most_wait_s: Longest wait.
    """

    def __init__(
        self,
        directory: Path,
        bus: Bus,
        max_bytes: int,
        *,
        fsync: bool = False,
        first_wait_s: float = 0.25,
        most_wait_s: float = 5.0,
    ) -> None:
        self._directory = directory
        self._bus = bus
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._waits_s = (first_wait_s, most_wait_s)
        self._queues: dict[str, deque[_Parcel]] = {}
        self._publishers: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._released = asyncio.Event()
        self._released.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._lock: int | None = None
        self._number = 0
        self._waiting_bytes = 0
        self._owed: dict[str, list[Outgoing]] = {}
        self._held_bytes = 0
        self._closing = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes on disk that the log has not acknowledged."""
        return self._waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether the largest fragment would be refused."""
        return self._waiting_bytes + RESERVE_BYTES + MAX_RECORD_BYTES > self._max_bytes

    def start(self, *, held: bool = False) -> None:
        """Lock the directory and begin with what the process before left behind. Needs a running loop.

        Args:
            held: Send nothing before `release`: the log has not been started yet.

        Raises:
            Refused: Another process uses the directory.
            Unavailable: The directory cannot be used.
        """
        if held:
            self._released.clear()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self._directory / "lock")
            self._make_reserve()
            leftovers = sorted(self._directory.glob("*" + _SUFFIX))
            for stale in self._directory.glob("*.part"):
                stale.unlink()
        except OSError as error:
            msg = f"spool {self._directory}: {error}"
            raise Unavailable(msg) from error
        for path in leftovers:
            self._take_leftover(path)

    def adopt(self, directory: Path) -> None:
        """Take over what a worker under another name left behind; nothing where that worker lives.

        A worker that is named after its host comes back under a new name where hosts are made anew.

        Raises:
            Unavailable: The directory cannot be used.
        """
        try:
            lock = take_lock(directory / "lock")
        except Refused:
            return
        except OSError as error:
            msg = f"spool {directory}: {error}"
            raise Unavailable(msg) from error
        try:
            for path in sorted(directory.glob("*" + _SUFFIX)):
                _, _, rest = path.name.partition(".")
                adopted = path.rename(self._directory / f"{self._number:016x}.{rest}")
                self._number += 1
                self._take_leftover(adopted)
            for path in directory.glob("*" + JOURNAL_SUFFIX):
                path.rename(self._directory / path.name)
        except OSError as error:
            msg = f"spool {directory}: {error}"
            raise Unavailable(msg) from error
        finally:
            os.close(lock)

    def release(self) -> None:
        """Begin to send: the log has been started."""
        self._released.set()

    async def stop(self, drain_s: float = 5.0) -> None:
        """Wait a while for the log to take what waits, then let go; the rest stays on disk."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), drain_s)
        self._closing = True
        publishers = list(self._publishers.values())
        for publisher in publishers:
            publisher.cancel()
        await asyncio.gather(*publishers, return_exceptions=True)
        for recorder_id in self._queues:
            self._write_queue(recorder_id)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def drained(self) -> None:
        """Wait until the log has taken everything."""
        await self._empty.wait()

    def put(
        self,
        recorder_id: str,
        records: list[Outgoing],
        *,
        is_event: bool = False,
        known_sha256: str = "",
        when_safe: Callable[[], None] | None = None,
    ) -> None:
        """Take records that belong together; they reach the log in this order, behind what the recorder put before.

        Args:
            recorder_id: Whose order they keep.
            records: At least one.
            is_event: Small and precious: may use the reserve.
            known_sha256: Of the first record's value, where it is known already.
            when_safe: Given where another file gives these records again after a crash; called once that is not
                needed any more: the log has them, or they have been written.

        Raises:
            SpoolFull: Nothing was taken: the bound is reached, or the disk is full or broken.
        """
        size = sum(len(record.value) for record in records) + _HEAD_BYTES
        bound = self._max_bytes if is_event else self._max_bytes - RESERVE_BYTES
        if self._waiting_bytes + size > bound or self._closing:
            msg = f"spool: {self._waiting_bytes} of {self._max_bytes} bytes wait, {size} more do not fit"
            raise SpoolFull(msg)
        path = self._directory / f"{self._number:016x}.{recorder_id}{_SUFFIX}"
        held = records if self._held_bytes + size <= HELD_BYTES else None
        parcel = _Parcel(path, size, held, time.monotonic(), when_safe)
        if when_safe is None or held is None or self._fsync:
            self._write_queue(recorder_id)
            self._write(path, pack(records, known_sha256), is_event=is_event)
            _tell_safe(parcel)
        self._number += 1
        if held is not None:
            self._held_bytes += size
        self._enqueue(recorder_id, parcel)

    def write_late(self) -> None:
        """Write the parcels that the log has not taken in time; to be called every now and then."""
        overdue_s = time.monotonic() - WRITE_AFTER_S
        for recorder_id, queue in self._queues.items():
            if queue and queue[0].when_safe is not None and (queue[0].put_at_s or 0.0) <= overdue_s:
                self._write_queue(recorder_id)

    def owe(self, recorder_id: str, records: list[Outgoing]) -> None:
        """Keep in memory what there was no room to tell, the first of each recorder, for `pay_debts`."""
        if len(self._owed) < MOST_OWED:  # beyond it the log file alone says it
            self._owed.setdefault(recorder_id, records)

    def pay_debts(self) -> None:
        """Put what is owed, as far as there is room now."""
        with suppress(SpoolFull):
            for recorder_id in list(self._owed):
                self.put(recorder_id, self._owed[recorder_id], is_event=True)
                del self._owed[recorder_id]

    def _write_queue(self, recorder_id: str) -> None:
        """Write what waits of a recorder and is not written, in order. What there is no room for stays where it is."""
        with suppress(SpoolFull):
            for parcel in self._queues.get(recorder_id, ()):
                if parcel.when_safe is not None and parcel.records is not None:
                    self._write(parcel.path, pack(parcel.records), is_event=False)
                    _tell_safe(parcel)

    def _write(self, path: Path, pieces: Sequence[bytes], *, is_event: bool) -> None:
        try:
            try:
                write_file(path, pieces, fsync=self._fsync)
            except OSError:
                if not is_event or not self._release_reserve():
                    raise
                write_file(path, pieces, fsync=self._fsync)
        except OSError as error:
            msg = f"spool: {error}"
            raise SpoolFull(msg) from error

    def _enqueue(self, recorder_id: str, parcel: _Parcel) -> None:
        self._waiting_bytes += parcel.size_bytes
        self._empty.clear()
        # Bounded by `max_bytes` on disk: a parcel is a name and a size here, and held contents have their own bound.
        self._queues.setdefault(recorder_id, deque()).append(parcel)
        if recorder_id not in self._publishers:
            self._publishers[recorder_id] = asyncio.create_task(
                self._publish_all(recorder_id), name=f"spool {recorder_id}"
            )

    def _take_leftover(self, path: Path) -> None:
        number, _, recorder_id = path.name.removesuffix(_SUFFIX).partition(".")
        try:
            check_recorder_id(recorder_id)
            self._number = max(self._number, int(number, 16) + 1)
            size = path.stat().st_size
        except (LiuhenError, ValueError, OSError) as error:
            _log.warning("spool: %s is not ours: %s", path.name, error)
            return
        self._enqueue(recorder_id, _Parcel(path, size, None, None))

    async def _publish_all(self, recorder_id: str) -> None:
        """Send one recorder's parcels until none waits; ends then, and is started again by the next."""
        queue = self._queues[recorder_id]
        backoff = self._new_backoff()
        try:
            await self._released.wait()
            while queue:
                try:
                    async with self._slots:
                        await self._publish(recorder_id, queue[0])
                except Exception as error:
                    # Whatever fails must not end the order of this recorder: say it, wait, and try the same again.
                    _log.warning("spool: %s waits (%d parcels): %r", recorder_id, len(queue), error)
                    self._write_queue(recorder_id)
                    await asyncio.sleep(backoff.after_failure())
                    continue
                backoff = self._new_backoff()
                self._let_go(queue.popleft())
        finally:
            del self._publishers[recorder_id]
            if not queue:
                del self._queues[recorder_id]
                if not self._queues:
                    self._empty.set()

    def _new_backoff(self) -> Backoff:
        first_s, most_s = self._waits_s
        return Backoff(random, first_s, most_s)

    async def _publish(self, recorder_id: str, parcel: _Parcel) -> None:
        try:
            records = parcel.records or unpack(parcel.path.read_bytes())
            for record in records[parcel.sent :]:
                await self._bus.publish(record.topic, record.key, record.value, headers=record.headers)
                parcel.sent += 1
        except (IntegrityError, FileNotFoundError) as error:
            await self._set_aside(recorder_id, parcel, "spool_corrupt", error)
        except (Refused, InvalidInput) as error:
            await self._set_aside(recorder_id, parcel, "unaccepted", error)
        except ValueError as error:
            await self._set_aside(recorder_id, parcel, "unaccepted", error)

    async def _set_aside(self, recorder_id: str, parcel: _Parcel, reason: str, error: Exception) -> None:
        """Tell topic `rejected` of a parcel that can never go, and keep its file out of the way."""
        _log.error("spool: %s: %s", parcel.path.name, error)
        self._write_queue(recorder_id)
        data = beginning(parcel.path)
        for record in rejected(recorder_id, data, reason, f"{parcel.path.name}: {error}", "spool"):
            await self._bus.publish(record.topic, record.key, record.value, headers=record.headers)
        metrics.count_rejected(reason)
        aside = self._directory / "damaged"
        aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            parcel.path.rename(aside / parcel.path.name)

    def _let_go(self, parcel: _Parcel) -> None:
        if parcel.when_safe is None:
            parcel.path.unlink(missing_ok=True)
        _tell_safe(parcel)
        self._waiting_bytes -= parcel.size_bytes
        if parcel.records is not None:
            self._held_bytes -= parcel.size_bytes
        if parcel.put_at_s is not None:
            metrics.SPOOL_TO_ACK.observe(time.monotonic() - parcel.put_at_s)
        if self._reserve_is_gone and self._waiting_bytes < self._max_bytes // 2:
            with suppress(OSError):
                self._make_reserve()

    def _make_reserve(self) -> None:
        try:
            reserve(self._reserve, RESERVE_BYTES)
            self._reserve_is_gone = False
        except OSError as error:
            self._reserve_is_gone = True
            _log.warning("spool: no reserve of %d bytes: %s", RESERVE_BYTES, error)

    def _release_reserve(self) -> bool:
        """Give the reserved blocks back to the file system; False where there are none left."""
        if self._reserve_is_gone:
            return False
        self._reserve.unlink(missing_ok=True)
        self._reserve_is_gone = True
        return True

    @property
    def _reserve(self) -> Path:
        return self._directory / "reserve"

    _reserve_is_gone = True


def _tell_safe(parcel: _Parcel) -> None:
    when_safe, parcel.when_safe = parcel.when_safe, None
    if when_safe is not None:
        when_safe()
