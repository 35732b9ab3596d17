"""Sessions that media alone opened end though their worker died, and go on where another worker has the recorder."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain import wire
from domain.bus import Record
from domain.clock import Clock, Instant, SystemClock
from domain.events import AnyEvent, Fragment, SessionEnded, SessionOpened, SessionStopped, Tick
from domain.settings import Settings
from domain.topics import EVENTS
from streams.ingest.forsaken import Due, Forsaken
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.service import IngestService
from streams.ingest.sessions import SessionBook
from streams.ingest.sink import Sink
from streams.ingest.whip.implicit import ImplicitSessions
from tests.streams.flaky_bus import FlakyBus, everything, flaky
from tests.streams.memory_ingest import MemoryIngest

AT = Instant.parse("2026-03-02T09:00:00+08:00")
SESSION = "body-1-20260302T010000Z-0a1b"


def opened(session_id: str = SESSION, recorder_id: str = "body-1") -> SessionOpened:
    return SessionOpened(at=AT, recorder_id=recorder_id, session_id=session_id)


def media(seq: int, at_s: float, feed_id: str = "f1", session_id: str = SESSION) -> Fragment:
    return Fragment(
        at=AT.plus(round(1000 * at_s) + 2_100),
        recorder_id="body-1",
        session_id=session_id,
        feed_id=feed_id,
        seq=seq,
        captured_at=AT.plus(round(1000 * at_s)),
        duration_s=2.0,
        bytes=1,
        sha256="0" * 64,
        codec="h264",
    )


class Line:
    """The log of one partition, read by one worker."""

    def __init__(self, silent_s: float = 5) -> None:
        self.book = SessionBook()
        self.forsaken = Forsaken(self.book, round(1000 * silent_s))
        self._offset = 0

    def put(self, *events: AnyEvent) -> None:
        for event in events:
            key = None if isinstance(event, Tick) else event.recorder_id
            record = Record(EVENTS.name, 0, self._offset, key, wire.encode(event), {}, AT)
            self._offset += 1
            self.book.take(record)
            self.forsaken.take(record)

    def tick(self, first_s: int, last_s: int) -> list[Due]:
        """Each second of the log is ticked, and asked what is due."""
        due = []
        for second in range(first_s, last_s + 1):
            self.put(Tick(at=AT.plus(1000 * second)))
            due = self.due()
        return due

    def due(self) -> list[Due]:
        return self.forsaken.due(lambda _recorder_id: 0)


def test_silence_for_so_many_ticks_makes_it_due_at_its_last_media() -> None:
    line = Line()
    line.put(opened(), media(0, 0.0), media(1, 2.0))
    assert line.tick(4, 8) == []
    assert line.tick(9, 9) == [Due("body-1", SESSION, AT.plus(4_000))]
    line.put(SessionEnded(at=AT, recorder_id="body-1", session_id=SESSION, completed_at=AT))
    assert line.tick(10, 30) == []


def test_media_of_whichever_worker_begins_the_time_anew() -> None:
    line = Line()
    line.put(opened(), media(0, 0.0))
    assert line.tick(2, 6) == []
    line.put(media(0, 4.0, "f2"))
    assert line.tick(7, 11) == []
    line.put(media(1, 9.0, "f2"))
    assert line.tick(12, 16) == []
    assert line.tick(17, 17) == [Due("body-1", SESSION, AT.plus(11_000))]


def test_time_that_nobody_ticked_is_no_silence() -> None:
    line = Line()
    line.put(opened(), media(0, 0.0))
    assert line.tick(2, 3) == []
    assert line.tick(600, 601) == [], "the log was away; what the spools hold may come yet"
    assert line.tick(602, 602) == [Due("body-1", SESSION, AT.plus(2_000))]
    assert [line.due() for _ in range(3)] == [[Due("body-1", SESSION, AT.plus(2_000))]] * 3


def test_without_media_a_session_was_complete_when_it_was_opened() -> None:
    line = Line()
    line.put(opened())
    assert line.tick(1, 6) == [Due("body-1", SESSION, AT)]


def test_only_sessions_that_media_alone_opened_are_ended() -> None:
    line = Line()
    line.put(opened("body-1-20260302"), opened("duty-7"), opened("body-1-20260302T010000Z-0a1b2c"))
    assert line.tick(1, 60) == []


def test_a_session_that_was_stopped_ends_too() -> None:
    line = Line()
    stop = SessionStopped(
        at=AT.plus(3_000), recorder_id="body-1", session_id=SESSION, reason="server", last_captured_at=AT
    )
    line.put(opened(), media(0, 0.0), stop)
    assert line.tick(3, 8) == [Due("body-1", SESSION, AT.plus(2_000))]


def test_rubbish_lets_no_time_pass() -> None:
    line = Line()
    line.put(opened())
    for value in (b"", b'{"type":"tick"}', b'{"type":"tick","at":1}', b'"tick"'):
        line.forsaken.take(Record(EVENTS.name, 0, 99, None, value, {}, AT))
    assert line.due() == []


def test_what_was_heard_is_saved_with_the_book(tmp_path: Path) -> None:
    line = Line()
    line.put(opened(), media(0, 0.0, "f1"), media(0, 4.0, "f2"))
    line.book.save(tmp_path / "sessions.json", {0: 3})
    again = SessionBook()
    again.load(tmp_path / "sessions.json")
    assert list(again.implicit_sessions()) == [("body-1", SESSION)]
    assert again.heard_until(SESSION) == AT.plus(6_000)
    assert again.is_heard_elsewhere(SESSION, "f1", AT.plus(5_000))
    assert not again.is_heard_elsewhere(SESSION, "f2", AT.plus(5_000))
    assert not again.is_heard_elsewhere(SESSION, "f1", AT.plus(6_000))
    assert not again.is_heard_elsewhere("another", "f1", AT)


async def test_a_worker_does_not_end_what_another_goes_on_with() -> None:
    ingest = MemoryIngest()
    sessions = ImplicitSessions(ingest, SystemClock(), linger_s=0.05)
    for lost in (True, False):
        session_id = await sessions.join("body-1")
        now = SystemClock().now()
        ingest.elsewhere = [(session_id, now.plus(1))]
        sessions.leave("body-1", session_id, now, lost=lost, feed_id="f1")
        (ending,) = sessions._endings.values()
        await asyncio.wait_for(ending, 5)
        assert "SessionEnded" not in ingest.kinds()
    # Media from before the connection was lost may be of a connection that this one has replaced.
    ingest.elsewhere = [(session_id, now.plus(-20_000))]
    sessions.leave("body-1", session_id, now, lost=False, feed_id="f1")
    (ending,) = sessions._endings.values()
    await asyncio.wait_for(ending, 5)
    assert ingest.kinds() == ["SessionOpened", "SessionEnded"]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log", partitions=4)
    await bus.start()
    yield bus
    await bus.close()


async def _idle(url: str, sink: Sink, options: RtspOptions, clock: Clock) -> None:
    await asyncio.Event().wait()


async def test_of_several_workers_one_ends_the_session_of_a_dead_one(bus: FlakyBus, tmp_path: Path) -> None:
    for event in (opened(), media(0, 0.0), opened("duty-7", "body-2")):  # by a worker that is no more
        await bus.publish(EVENTS.name, event.recorder_id, wire.encode(event))
    settings = [
        Settings(spool=str(tmp_path / "spool"), worker_id=name, whip_linger_s=0.5, whip_silent_s=0.5)
        for name in ("w1", "w2")
    ]
    workers = [IngestService(bus, one, SystemClock(), pull=_idle) for one in settings]
    for worker in workers:
        await worker.start()
    now = SystemClock().now()
    ended: list[SessionEnded] = []
    async with asyncio.timeout(60):
        for second in range(0, 2_000, 2):  # as if 20 times as fast
            for partition in range(4):
                await bus.publish(EVENTS.name, None, wire.encode(Tick(at=now.plus(1000 * second))), partition=partition)
            await asyncio.sleep(0.1)
            events = [wire.decode_event(record.value or b"") for record in await everything(bus, EVENTS.name)]
            ended = [event for event in events if isinstance(event, SessionEnded)]
            if ended and all(worker.session_state(SESSION) == "ended" for worker in workers):
                break
    for worker in workers:
        await worker.stop()
    assert [(one.session_id, one.completed_at) for one in ended] == [(SESSION, AT.plus(2_000))]
    assert {worker.session_state("duty-7") for worker in workers} == {"open"}
