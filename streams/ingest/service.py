"""The ingest role: spool, journals, registrations, sessions, feeds and cameras of one worker, put together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import random
from typing import Final

from domain.bus import Bus, Record, TopicPartition, partition_for
from domain.clock import Clock, Instant
from domain.errors import Unavailable
from domain.events import AnyRecorderEvent, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from domain.registry import Registration
from domain.settings import Settings
from domain.topics import EVENTS, REGISTRY
from streams.ingest import metrics, parcel
from streams.ingest.backoff import Backoff
from streams.ingest.cameras import CameraPorts, Cameras, Pull
from streams.ingest.days import DaySessions, day_session
from streams.ingest.feeds import JOURNAL_EVERY_S, Feed
from streams.ingest.follow import Follower
from streams.ingest.forsaken import Forsaken
from streams.ingest.journal import FeedInfo
from streams.ingest.limits import Limits
from streams.ingest.ports import SessionState
from streams.ingest.recovery import Recovered, recover
from streams.ingest.registrations import Registrations
from streams.ingest.rtsp.client import run as run_rtsp
from streams.ingest.sessions import SessionBook
from streams.ingest.spool import Spool
from streams.ingest.standing import StandingFile

CATCH_UP_S: Final = 3.0
"""How long a first start, or a device that nothing is known of, waits for the log's past to be read."""
SAVE_EVERY_S: Final = 15.0
"""How often the session book is saved at the least; after a session event of our own, with the next tick."""
FORSAKEN_EVERY_S: Final = 2.0
"""How often it is asked which sessions nobody will end."""
LET_OTHERS_END_S: Final = 10.0
"""Beyond the time in which the worker that lost a recorder ends its session: that one knows best."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_log = logging.getLogger(__name__)


class IngestService:
    """One ingest worker; implements `streams.ingest.ports.IngestPort`.

    Args:
        bus: The log, started.
        settings: What is configured: `spool`, `spool_max_bytes`, `worker_id`, fragment and segment lengths.
        clock: Wall and monotonic time.
        pull: Pulls a camera until it fails.
        new_backoff: Makes the waiting times of a camera.
    """

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        clock: Clock,
        *,
        pull: Pull = run_rtsp,
        new_backoff: Callable[[], Backoff] = lambda: Backoff(random),
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._limits = Limits.of(settings)
        self._directory = Path(settings.spool) / (settings.worker_id or socket.gethostname())
        self._spool = Spool(self._directory, bus, settings.spool_max_bytes)
        self._feeds: dict[str, Feed] = {}
        self._registrations = Registrations()
        self._book = SessionBook()
        patience_s = settings.whip_silent_s + settings.whip_linger_s + LET_OTHERS_END_S
        self._forsaken = Forsaken(self._book, round(1000 * patience_s))
        self._days = DaySessions(self._book, self._record)
        self._follower: Follower | None = None
        ports = CameraPorts(self._open_camera_feed, self._record, self._reject, self._book)
        self.cameras = Cameras(bus, self._registrations, self._days, ports, clock, pull=pull, new_backoff=new_backoff)
        self._ticker: asyncio.Task[None] | None = None
        self._learning: asyncio.Task[None] | None = None
        self._caught_up = asyncio.Event()
        self._standing = StandingFile(self._directory / "standing.json")
        self._opened_s = 0.0
        self._remembers = False
        self._offsets: dict[int, int] = {}
        self._book_is_new = False

    @property
    def spool(self) -> Spool:
        """The outbox."""
        return self._spool

    @property
    def remembers(self) -> bool:
        """Whether an earlier life left behind whom to record: then `start` may wait until the log is there."""
        return self._remembers

    def not_ready(self) -> str:
        """Return what is not served yet, empty when all is."""
        return "" if self._follower is not None else "ingest has not reached the log; what comes in is spooled"

    def open(self) -> None:
        """Begin before the log is there: spool what was cut off, and pull the cameras that were pulled. Needs a loop.

        Raises:
            Refused: Another process uses this worker's spool.
            Unavailable: The spool's directory cannot be used.
        """
        self._opened_s = self._clock.monotonic()
        self._spool.start(held=True)
        metrics.watch_spool(lambda: self._spool.waiting_bytes)
        for other in self._directory.parent.iterdir():
            if other.is_dir() and other != self._directory:
                self._spool.adopt(other)
        self._offsets = self._book.load(self._sessions_file)
        standing = self._standing.load()
        self._remembers = bool(standing.registrations)
        self._registrations.recall(standing.registrations)
        self._recover_journals()
        self._ticker = asyncio.create_task(self._tick_for_ever(), name="ingest ticks")
        self.cameras.resume(standing.cameras)

    async def start(self) -> None:
        """Learn recorders and sessions from the log, and pull this worker's cameras. May be tried again.

        Raises:
            Refused: Another process uses this worker's spool.
            Unavailable: The spool's directory cannot be used, or the log is away.
        """
        try:
            await self._start()
        except BaseException:
            if not self._remembers:
                await self.stop(0)
            raise

    async def _start(self) -> None:
        if self._ticker is None:
            self.open()
        self._spool.release()
        follower = Follower(
            self._bus,
            {REGISTRY.name: self._registrations.take, EVENTS.name: self._take_event},
            {TopicPartition(EVENTS.name, partition): offset for partition, offset in self._offsets.items()},
        )
        try:
            await asyncio.gather(follower.start(), self.cameras.join())
        except BaseException:
            await follower.stop()
            raise
        self._follower = follower
        self._learning = asyncio.create_task(self._learn(follower), name="ingest learns")
        if not self._remembers:
            self._opened_s = self._clock.monotonic()  # the log has only now become readable
            await self.caught_up()
        self.cameras.start()

    def _take_event(self, record: Record) -> None:
        self._book.take(record)
        self._forsaken.take(record)

    async def _learn(self, follower: Follower) -> None:
        await follower.caught_up()
        self._registrations.caught_up()
        self._caught_up.set()

    async def caught_up(self) -> None:
        """Wait until the log's past is read, at most until `CATCH_UP_S` after the start."""
        left_s = self._opened_s + CATCH_UP_S - self._clock.monotonic()
        if left_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._caught_up.wait(), left_s)

    async def stop(self, drain_s: float = 5.0) -> None:
        """Stop the cameras, close every feed, give the log a while to take what waits."""
        await self.cameras.stop()
        tasks = [task for task in (self._ticker, self._learning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for feed in list(self._feeds.values()):
            feed.finish()
        await self._spool.stop(drain_s)
        self._save_sessions()
        if self._follower is not None:
            await self._follower.stop()

    @property
    def knows_registrations(self) -> bool:
        """Whether the registrations on the log were read to their end once."""
        return self._follower is not None and self._follower.has_read(REGISTRY.name)

    def registration(self, recorder_id: str) -> Registration | None:
        """Return the newest registration on the log, None where unknown."""
        return self._registrations.get(recorder_id)

    def open_session(self, recorder_id: str) -> str | None:
        """Return the id of the recorder's newest session that has not ended, None where there is none."""
        sessions = self._book.open_sessions(recorder_id)
        return sessions[-1] if sessions else None

    def session_recorder(self, session_id: str) -> str | None:
        """Return whose session it is, None where unknown."""
        return self._book.recorder(session_id)

    def session_state(self, session_id: str) -> SessionState | None:
        """Return how it stands, None where unknown."""
        return self._book.state(session_id)

    def is_heard_elsewhere(self, session_id: str, feed_id: str, since: Instant) -> bool:
        """Tell whether the log has newer media of a session opened by media alone, captured by another feed since."""
        return self._book.is_heard_elsewhere(session_id, feed_id, since)

    def open_feed(self, recorder_id: str, session_id: str) -> Feed:
        """Begin a feed that a device pushes.

        Raises:
            Unavailable: The spool has no room.
        """
        return self._open(recorder_id, session_id, path="whip", by_day=False)

    async def record(self, event: AnyRecorderEvent) -> None:
        """Take an event durably; events of one recorder keep the order of the calls.

        Raises:
            Unavailable: The spool has no room.
        """
        self._record(event)

    async def reject(self, recorder_id: str, data: bytes, reason: str, detail: str) -> None:
        """Keep what could not be read, on topic `rejected`.

        Raises:
            Unavailable: The spool has no room.
        """
        self._reject(recorder_id, data, reason, detail)

    def _record(self, event: AnyRecorderEvent) -> None:
        self._spool.put(event.recorder_id, parcel.event_records(event), is_event=True)
        self._book.apply(event)
        if isinstance(event, SessionOpened | SessionStopped | SessionResumed | SessionEnded):
            self._book_is_new = True

    def _reject(self, recorder_id: str, data: bytes, reason: str, detail: str) -> None:
        self._spool.put(recorder_id, parcel.rejected(recorder_id, data, reason, detail, "ingest"), is_event=True)

    def _open_camera_feed(self, recorder_id: str) -> Feed:
        return self._open(recorder_id, day_session(recorder_id, self._clock.now()), path="rtsp", by_day=True)

    def _open(self, recorder_id: str, session_id: str, *, path: str, by_day: bool) -> Feed:
        if self._spool.is_full:
            msg = f"spool: {self._spool.waiting_bytes} bytes wait for the log; no room for another feed"
            raise Unavailable(msg)
        feed_id = f"{recorder_id}-{_base36(int(self._clock.now()))}-{secrets.token_hex(2)}"
        feed = self._feed(FeedInfo(feed_id, recorder_id, session_id, path, by_day, self._limits))
        self._feeds[feed_id] = feed
        return feed

    def _feed(self, info: FeedInfo) -> Feed:
        session_of = self._days.session_of if info.by_day else None
        return Feed(info, self._spool, self._directory, self._clock, session_of=session_of, on_closed=self._forget)

    def _forget(self, feed: Feed) -> None:
        self._feeds.pop(feed.feed_id, None)

    def _recover_journals(self) -> None:
        cut_off: dict[str, Feed] = {}
        for found in recover(self._directory):
            if isinstance(found, Recovered):
                units = sum(len(section.units) for section in found.sections)
                _log.info("%s: %d units recovered", found.feed.feed_id, units)
                feed = self._feed(found.feed)
                feed.recover(found)
                cut_off[feed.session_id] = max(cut_off.get(feed.session_id, feed), feed, key=_last_captured)
                continue
            path, error = found
            _log.error("journal: %s", error)
            metrics.count_rejected("journal_corrupt")
            recorder_id = path.name.rsplit("-", 2)[0]
            with suppress(Unavailable):  # the file stays, and is told of at the next start
                self._reject(recorder_id, path.read_bytes()[:1_000_000], "journal_corrupt", str(error))
                path.rename(path.with_suffix(".damaged"))

        for feed in cut_off.values():
            self._tell_cut_off(feed)

    def _tell_cut_off(self, feed: Feed) -> None:
        """Write down that it was this process that stopped recording, so that nobody looks for it in the network."""
        if feed.last_captured_at is None or self._book.state(feed.session_id) != "open":
            return
        now = self._clock.now()
        recorder_id, session_id = feed.recorder_id, feed.session_id
        try:
            self._record(
                SessionStopped(
                    at=now,
                    recorder_id=recorder_id,
                    session_id=session_id,
                    reason="server",
                    last_captured_at=feed.last_captured_at,
                )
            )
            # A moment later: at one moment, what begins stands before what ends.
            self._record(SessionResumed(at=now.plus(1), recorder_id=recorder_id, session_id=session_id))
        except Unavailable as error:
            _log.error("%s: not told that it was cut off: %s", feed.feed_id, error)

    async def _tick_for_ever(self) -> None:
        saved_s = looked_s = self._clock.monotonic()
        while True:
            # By the same grid as the receivers that read by the clock: one wake-up serves all.
            await asyncio.sleep(JOURNAL_EVERY_S - self._clock.monotonic() % JOURNAL_EVERY_S + 0.001)
            for feed in list(self._feeds.values()):
                feed.tick()
            self._spool.write_late()
            self._spool.pay_debts()
            if self._caught_up.is_set() and self._clock.monotonic() - looked_s >= FORSAKEN_EVERY_S:
                looked_s = self._clock.monotonic()
                self._end_forsaken()
            if self._book_is_new or self._clock.monotonic() - saved_s >= SAVE_EVERY_S:
                saved_s = self._clock.monotonic()
                self._save_sessions()
            self._standing.save_if_changed(
                self._registrations.version, self.cameras.pulled, self._registrations.all, self._clock.monotonic()
            )

    def _end_forsaken(self) -> None:
        partitions = self._bus.partitions(EVENTS.name)
        recorded = {feed.session_id for feed in self._feeds.values()}
        for one in self._forsaken.due(lambda recorder_id: partition_for(recorder_id, partitions)):
            if one.session_id in recorded or not self.cameras.is_mine(one.recorder_id):
                continue
            _log.warning("%s: nobody has ended session %s", one.recorder_id, one.session_id)
            with suppress(Unavailable):  # asked again
                self._record(
                    SessionEnded(
                        at=self._clock.now(),
                        recorder_id=one.recorder_id,
                        session_id=one.session_id,
                        completed_at=one.completed_at,
                    )
                )

    def _save_sessions(self) -> None:
        self._book_is_new = False
        if self._follower is None:
            return
        try:
            self._book.save(self._sessions_file, self._follower.next_offsets(EVENTS.name))
        except OSError as error:
            _log.warning("sessions: %s", error)  # the next start reads more of the log

    @property
    def _sessions_file(self) -> Path:
        return self._directory / "sessions.json"


def _last_captured(feed: Feed) -> int:
    return int(feed.last_captured_at or 0)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
