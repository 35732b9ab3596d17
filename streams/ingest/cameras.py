"""Which cameras this worker pulls, and the pulling: one task a camera, on its own whatever the others do.

Ingest workers are members of consumer group `ingest` on topic `registry`: a worker pulls the cameras whose partitions
it holds. What the registrations are is read from the whole topic beside it, from its beginning, since a committed
offset says nothing of cameras registered before. The group's own reading serves one thing: a registration read past
the committed offset is new, and is told as a `recorder_registered` event.

A camera is never left alone while partitions move. Whoever held it pulls on while they are being shared out anew, and
for `LINGER_S` after they went to another worker, and then until that one's media is on the log: two feeds of one camera
do no harm, a pause does, and a group may for a while count on a member that is no more. A worker that starts again
pulls at once what it pulled before, and then hears what the group says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from random import random
from typing import Final

import msgspec

from domain.bus import Bus, Consumer, Record, TopicPartition, partition_for
from domain.clock import Clock, Instant
from domain.errors import InvalidEvent, LiuhenError, Unavailable
from domain.events import AnyRecorderEvent
from domain.ids import is_recorder_id
from domain.registry import Registration
from domain.topics import REGISTRY
from streams.ingest import metrics
from streams.ingest.backoff import Backoff
from streams.ingest.days import DaySessions
from streams.ingest.feeds import Feed
from streams.ingest.registrations import Registrations, read_registration, registered_event
from streams.ingest.rtsp.client import run as run_rtsp
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.sessions import SessionBook
from streams.ingest.sink import Sink

GROUP: Final = "ingest"
UNKNOWN: Final = "unknown"
"""Key of what is rejected and names no recorder."""
TAKE_WITHIN_S: Final = 0.5
"""How soon a change of registrations or partitions is acted on at the latest."""
DAYS_EVERY_S: Final = 30.0
LINGER_S: Final = 10.0
"""How long a camera that has moved to another worker is pulled on: that one must connect, and see a keyframe."""
LONGEST_LINGER_S: Final = 120.0
"""So long at most, where nothing of the other worker's is heard: no group counts on a dead member for longer."""
_TOLD: Final = frozenset({"active", "suspended", "retired"})
"""Of what is still being entered nothing is said: nothing is expected of it yet."""
_log = logging.getLogger(__name__)

Pull = Callable[[str, Sink, RtspOptions, Clock], Awaitable[None]]


class CameraPorts(msgspec.Struct, frozen=True):
    """What the cameras need of the service.

    Attributes:
        open_feed: Begins a feed of a camera; may raise Unavailable.
        record: Takes an event durably; may raise Unavailable.
        reject: Tells of something not taken: recorder, bytes, reason, detail; may raise Unavailable.
        book: What the log says of sessions, and of who records.
    """

    open_feed: Callable[[str], Feed]
    record: Callable[[AnyRecorderEvent], None]
    reject: Callable[[str, bytes, str, str], None]
    book: SessionBook


class _Pulled(msgspec.Struct):
    registration: Registration
    task: asyncio.Task[None]
    feed: Feed | None = None
    moved_at_s: float | None = None
    moved_at: Instant | None = None


class Cameras:
    """The cameras of one worker."""

    def __init__(
        self,
        bus: Bus,
        registrations: Registrations,
        days: DaySessions,
        ports: CameraPorts,
        clock: Clock,
        *,
        pull: Pull = run_rtsp,
        new_backoff: Callable[[], Backoff] = lambda: Backoff(random),
    ) -> None:
        self._bus = bus
        self._registrations = registrations
        self._days = days
        self._ports = ports
        self._clock = clock
        self._pull = pull
        self._new_backoff = new_backoff
        self._pulled: dict[str, _Pulled] = {}
        self._held: frozenset[int] = frozenset()
        self._has_held = False
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._days_checked_s = clock.monotonic()

    @property
    def pulled(self) -> frozenset[str]:
        """Recorder ids of the cameras that this worker pulls now."""
        return frozenset(self._pulled)

    async def join(self) -> None:
        """Join the group; partitions are settled while the registrations are being read.

        Raises:
            BusUnavailable: The log is away.
        """
        if self._consumer is None:
            self._consumer = await self._bus.subscribe(GROUP, [REGISTRY.name])

    def resume(self, registrations: Iterable[Registration]) -> None:
        """Pull these at once; what the group says after `start` decides whether it goes on."""
        for registration in registrations:
            self._begin(registration)

    def start(self) -> None:
        """Begin to pull; after `join`."""
        if self._consumer is None:
            msg = "join the group first"
            raise RuntimeError(msg)
        self._task = asyncio.create_task(self._run(self._consumer), name="cameras")

    async def stop(self) -> None:
        """Stop all pulls, write down that it was us who stopped, and leave the group."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_all(list(self._pulled), is_told=True)
        if self._consumer is not None:
            await self._consumer.close()

    async def _run(self, consumer: Consumer) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                await self._once(consumer)
            except Unavailable as error:
                _log.warning("cameras: %s", error)
                await asyncio.sleep(backoff.after_failure())
            except Exception:
                # A fault in one round must not end the assignment of every camera.
                _log.exception("cameras: a round failed")
                metrics.count_rejected("worker_failed")
                await asyncio.sleep(backoff.after_failure())
            else:
                backoff = self._new_backoff()

    async def _once(self, consumer: Consumer) -> None:
        records = await consumer.take(within_s=TAKE_WITHIN_S)
        if records:
            await self._tell_all(consumer, records)
        if consumer.settled():
            self._held = frozenset(place.partition for place in consumer.assigned() if place.topic == REGISTRY.name)
            self._has_held = True
        if self._has_held:
            await self._reconcile()
            self._end_days()

    async def _tell_all(self, consumer: Consumer, records: list[Record]) -> None:
        """Tell of what is new, then commit; where telling fails, the same records are taken again."""
        try:
            for record in records:
                self._tell(record)
            await consumer.commit({TopicPartition(one.topic, one.partition): one.offset + 1 for one in records})
        except Unavailable:
            for first in reversed(records):
                await consumer.seek(TopicPartition(first.topic, first.partition), first.offset)
            raise

    def _tell(self, record: Record) -> None:
        """Tell of a registration that is new."""
        try:
            registration = read_registration(record)
        except InvalidEvent as error:
            metrics.count_rejected("registration")
            # The spool names files after recorders, and a foreign key may be anything.
            recorder_id = record.key if record.key and is_recorder_id(record.key) else UNKNOWN
            detail = f"key {record.key!r}: {error}"
            self._ports.reject(recorder_id, record.value or b"", "registration", detail)
            return
        if registration is not None and registration.state in _TOLD:
            self._ports.record(registered_event(registration, record))

    def _end_days(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._days_checked_s < DAYS_EVERY_S:
            return
        self._days_checked_s = now_s
        for registration in self._registrations.all_cameras():
            if self.is_mine(registration.recorder_id):
                self._days.end_past(registration.recorder_id, self._clock.now())

    def is_mine(self, recorder_id: str) -> bool:
        """Tell whether this worker holds the recorder's partition, and with it what one worker alone must do."""
        return partition_for(recorder_id, self._bus.partitions(REGISTRY.name)) in self._held

    async def _reconcile(self) -> None:
        known = {one.recorder_id: one for one in self._registrations.cameras()}
        changed = [
            one for one, pulled in self._pulled.items() if one in known and _differs(pulled.registration, known[one])
        ]
        await self._stop_all([one for one in self._pulled if one not in known], is_told=True, for_maintenance=True)
        await self._stop_all(changed, is_told=False)
        # The recording goes on elsewhere, so nothing is said of a stop.
        await self._stop_all(self._moved(), is_told=False)
        for recorder_id, registration in known.items():
            if recorder_id not in self._pulled and self.is_mine(recorder_id):
                self._begin(registration)

    def _moved(self) -> list[str]:
        """Return the cameras that another worker has had for long enough, and records."""
        return [recorder_id for recorder_id, pulled in self._pulled.items() if self._has_moved(recorder_id, pulled)]

    def _has_moved(self, recorder_id: str, pulled: _Pulled) -> bool:
        if self.is_mine(recorder_id):
            pulled.moved_at_s = None
            self._ports.book.unfollow(recorder_id)
            return False
        if pulled.moved_at_s is None or pulled.moved_at is None:
            pulled.moved_at_s, pulled.moved_at = self._clock.monotonic(), self._clock.now()
            self._ports.book.follow(recorder_id)
        since_s = self._clock.monotonic() - pulled.moved_at_s
        if since_s < LINGER_S:
            return False
        own = pulled.feed.feed_id if pulled.feed is not None else ""
        return since_s >= LONGEST_LINGER_S or self._ports.book.is_pulled_elsewhere(recorder_id, own, pulled.moved_at)

    def _begin(self, registration: Registration) -> None:
        name = registration.recorder_id
        task = asyncio.create_task(self._keep_pulling(registration), name=f"camera {name}")
        self._pulled[name] = _Pulled(registration, task)

    async def _stop_all(self, recorder_ids: list[str], *, is_told: bool, for_maintenance: bool = False) -> None:
        stopping = [self._pulled.pop(one) for one in recorder_ids if one in self._pulled]
        for pulled in stopping:
            pulled.task.cancel()
            self._ports.book.unfollow(pulled.registration.recorder_id)
        await asyncio.gather(*(pulled.task for pulled in stopping), return_exceptions=True)
        for pulled in stopping:
            if is_told and pulled.feed is not None:
                with suppress(Unavailable):  # the spool is full: the ticks show the stall anyway
                    self._days.stopped(pulled.feed, self._clock.now(), for_maintenance=for_maintenance)
                    self._explain(pulled.feed)

    def _explain(self, feed: Feed) -> None:
        """Say why, where whoever took the camera out of use has said so."""
        decided = self._registrations.get(feed.recorder_id)
        if decided is not None and decided.reason and decided.decided_by:
            # A moment later: at one moment, an explanation stands before the stop.
            self._days.explained(feed, self._clock.now().plus(1), decided.reason, decided.decided_by)

    async def _keep_pulling(self, registration: Registration) -> None:
        recorder_id = registration.recorder_id
        backoff = self._new_backoff()
        told = ""
        while True:
            media_s, error = await self._pull_once(registration)
            text = f"{type(error).__name__}: {error}" if error is not None else "the stream ended"
            _log.warning("camera %s: %s", recorder_id, text)
            metrics.count_rejected("camera_failed")
            if text != told and error is not None and not isinstance(error, Unavailable):
                told = text
                with suppress(Unavailable):  # counted and logged above; told again when it changes
                    self._ports.reject(recorder_id, b"", "camera_failed", text)
            await asyncio.sleep(backoff.after_failure(media_s))

    async def _pull_once(self, registration: Registration) -> tuple[float, Exception | None]:
        """Pull until it fails; return how long media came, and why it failed."""
        recorder_id = registration.recorder_id
        feed: Feed | None = None
        try:
            feed = self._ports.open_feed(recorder_id)
            if recorder_id in self._pulled:
                self._pulled[recorder_id].feed = feed
            options = RtspOptions(transport=registration.transport, tls_sha256=registration.tls_sha256)
            await self._pull(registration.url or "", feed, options, self._clock)
        except LiuhenError as error:
            return _media_s(feed), error
        except Exception as error:
            # A fault of ours that one camera brings out must stay with that camera.
            _log.exception("camera %s", recorder_id)
            return _media_s(feed), error
        finally:
            if feed is not None:
                feed.finish()
        return _media_s(feed), None


def _media_s(feed: Feed | None) -> float:
    return feed.media_s if feed is not None else 0.0


def _differs(before: Registration, after: Registration) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in ("url", "transport", "tls_sha256"))
