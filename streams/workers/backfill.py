"""The worker that puts files delivered later into the store: what stands in `ready/`, and what a station has copied.

For each file: the object, the ledger, the catalogue, then `backfilled` on the log, then the file is noted as done. A
crash anywhere repeats from the beginning and changes nothing. Nothing is thrown away while a service is away.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

from prometheus_client import Counter

from domain.bus import Bus
from domain.clock import Clock, Instant
from domain.errors import BusUnavailable, IntegrityError, Refused, Unavailable
from domain.settings import Settings
from domain.topics import DETAIL_HEADER, EVENTS, REASON_HEADER, REJECTED, SOURCE_HEADER
from domain.wire import encode
from policies.local import Rulebook
from storage.backfill import Backfill, Delivery, announcement
from storage.catalog.catalog import Catalog
from storage.catalog.uploads import Uploads
from storage.ledger.ledger import Ledger
from storage.objects.port import ObjectStore, SourceDamaged
from streams.ingest.registrations import Registrations
from streams.metrics import REJECTED as REJECTED_TOTAL
from streams.uploads.dropbox import Dropbox
from streams.uploads.limits import Limits
from streams.uploads.shelf import Shelf, digest_of, open_shelf
from streams.uploads.upload import Upload

LOOK_EVERY_S = 0.2
DROPBOX_EVERY_S = 2.0
EXPIRE_EVERY_S = 300.0
STORING_AT_ONCE = 4
RETRY_FIRST_S, RETRY_LAST_S = 1.0, 30.0

STORED = Counter("liuhen_uploads_stored", "Files delivered later that are in the store, by the way they came.", ["via"])
STORED_BYTES = Counter("liuhen_upload_bytes_stored", "Bytes of files delivered later that are in the store.")

logger = logging.getLogger(__name__)


class BackfillWorker:
    """Runs until cancelled; one process at a time works on one folder, another one waits for it.

    Args:
        bus: The log, started.
        backfill: Stores one file.
        shelf: The folder, opened.
        policy_of: A recorder's policy.
        clock: For what has expired.
        expires_s: See `domain.settings`.
        dropbox: The watched folder, where there is one.
    """

    def __init__(
        self,
        bus: Bus,
        backfill: Backfill,
        shelf: Shelf,
        policy_of: Callable[[str], str],
        clock: Clock,
        *,
        expires_s: float,
        dropbox: Dropbox | None = None,
    ) -> None:
        self._bus, self._backfill, self._shelf = bus, backfill, shelf
        self._policy_of, self._clock, self._expires_s = policy_of, clock, expires_s
        self._dropbox = dropbox
        self._slots = asyncio.Semaphore(STORING_AT_ONCE)
        self._lanes: dict[str, asyncio.Task[bool]] = {}
        self._expire_due_s = 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        lock = os.open(self._shelf.root / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _own(lock)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self._work())
        finally:
            for lane in self._lanes.values():
                lane.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)
            os.close(lock)

    async def round(self) -> bool:
        """Look once, and store what is there; False where something must be tried again later."""
        await self._look_around()
        await self._look()
        done = [await self._next_done(None) for _ in list(self._lanes)]
        return all(done)

    async def _watch(self) -> None:
        """Take over what a station copies; large files take their time, and keep nothing else waiting."""
        while self._dropbox is not None:
            await self._look_around()
            await asyncio.sleep(DROPBOX_EVERY_S)

    async def _work(self) -> None:
        """Store what is whole while more comes in: nobody waits for another recorder's file but for a free slot."""
        retry_s, not_before_s = RETRY_FIRST_S, 0.0
        while True:
            if self._clock.monotonic() >= not_before_s:
                await self._look()
            done = await self._next_done(LOOK_EVERY_S)
            if done is False:
                not_before_s = self._clock.monotonic() + retry_s
                retry_s = min(2 * retry_s, RETRY_LAST_S)
            elif done:
                retry_s = RETRY_FIRST_S

    async def _look(self) -> None:
        """Begin a lane for each recorder that has files and none yet."""
        now_s = self._clock.monotonic()
        if now_s >= self._expire_due_s:
            self._expire_due_s = now_s + EXPIRE_EVERY_S
            await asyncio.to_thread(self._shelf.expire, int(self._clock.now()) - round(1000 * self._expires_s))
        busy = set(self._lanes)  # before the folder is read: what a lane finishes meanwhile must not be begun again
        waiting: dict[str, list[Upload]] = {}
        for upload in await asyncio.to_thread(lambda: list(self._shelf.uploads(self._shelf.ready))):
            waiting.setdefault(upload.recorder_id, []).append(upload)
        # One at a time of one recorder: of the same file delivered twice the second finds the first.
        for recorder_id in waiting.keys() - busy:
            self._lanes[recorder_id] = asyncio.create_task(self._lane(waiting[recorder_id]))

    async def _next_done(self, within_s: float | None) -> bool | None:
        """Wait until a lane is at its end; returns whether all of it is stored, None where the time is over before."""
        if not self._lanes:
            await asyncio.sleep(within_s or 0)
            return None
        await asyncio.wait(self._lanes.values(), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        found = next((name for name, lane in self._lanes.items() if lane.done()), None)
        return None if found is None else self._lanes.pop(found).result()

    async def _look_around(self) -> None:
        try:
            if self._dropbox is not None:
                await asyncio.to_thread(self._dropbox.look)
        except OSError as error:
            logger.warning("dropbox: %s", error)

    async def _lane(self, lane: list[Upload]) -> bool:
        for upload in lane:
            async with self._slots:
                if not await self._try(upload):
                    return False
        return True

    async def _try(self, upload: Upload) -> bool:
        try:
            await self._store(upload)
        except SourceDamaged as error:
            path = self._shelf.ready / f"{upload.id}.bin"
            if await asyncio.to_thread(digest_of, path) == upload.sha256:
                logger.warning("%s: %s", upload.id, error)
                return False
            return await self._set_aside(upload, error)
        except IntegrityError as error:
            return await self._set_aside(upload, error)
        except (Unavailable, Refused, OSError) as error:
            logger.warning("upload %s of %s: %s", upload.id, upload.recorder_id, error)
            return False
        return True

    async def _store(self, upload: Upload) -> None:
        row = await self._backfill.run(_delivery(upload, self._shelf), self._policy_of(upload.recorder_id))
        if (row.session_id, row.from_at, row.to_at) != (upload.session_id, upload.from_ms, upload.to_ms):
            logger.warning(
                "%s: delivered before, and then said to be of %s from %s", row.key, row.session_id, row.from_at
            )
        await self._bus.publish(EVENTS.name, row.recorder_id, encode(announcement(row)))
        await asyncio.to_thread(self._shelf.finish, upload)
        STORED.labels(upload.via).inc()
        STORED_BYTES.inc(upload.length_bytes)

    async def _set_aside(self, upload: Upload, error: Exception) -> bool:
        headers = {
            REASON_HEADER: b"upload_refused",
            DETAIL_HEADER: str(error).encode()[:2000],
            SOURCE_HEADER: upload.id.encode(),
        }
        try:
            await self._bus.publish(REJECTED.name, upload.recorder_id, b"", headers=headers)
        except BusUnavailable as unavailable:
            logger.warning("%s", unavailable)
            return False
        REJECTED_TOTAL.labels("upload_refused").inc()
        await asyncio.to_thread(self._shelf.set_aside, upload, str(error))
        logger.critical("%s; its bytes are kept in %s", error, self._shelf.rejected)
        return True


def backfill_worker(
    bus: Bus,
    store: ObjectStore,
    catalog: Catalog,
    ledger: Ledger,
    settings: Settings,
    *,
    registrations: Registrations,
    book: Rulebook,
    clock: Clock,
) -> BackfillWorker:
    """Put the worker together.

    Raises:
        InvalidSettings: The folder of uploads cannot be used.
    """
    shelf = open_shelf(settings)

    def policy_of(recorder_id: str) -> str:
        known = registrations.get(recorder_id)
        return settings.policy if known is None else known.policy

    def is_registered(recorder_id: str) -> bool:
        return registrations.get(recorder_id) is not None

    dropbox = None
    if settings.dropbox:
        limits = Limits.of(settings)
        dropbox = Dropbox(
            Path(settings.dropbox), shelf, limits, clock, is_registered, stable_s=settings.dropbox_stable_s
        )
    backfill = Backfill(store, Uploads(catalog), ledger, clock, book)
    return BackfillWorker(bus, backfill, shelf, policy_of, clock, expires_s=settings.upload_expires_s, dropbox=dropbox)


def _delivery(upload: Upload, shelf: Shelf) -> Delivery:
    return Delivery(
        path=shelf.ready / f"{upload.id}.bin",
        recorder_id=upload.recorder_id,
        session_id=upload.session_id,
        from_at=Instant(upload.from_ms),
        to_at=Instant(upload.to_ms),
        sha256=upload.sha256,
        bytes=upload.length_bytes,
        media=upload.media,
        via=upload.via,
        delivered_at=Instant(upload.delivered_ms),
    )


async def _own(lock: int) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(RETRY_LAST_S)
        else:
            return
