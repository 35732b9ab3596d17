"""Pulling: back-off, one camera's faults kept from the others, days that change at midnight."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from domain import wire
from domain.clock import Clock, Instant, ManualClock, SystemClock
from domain.errors import InvalidMedia, NotAuthorized, Unavailable
from domain.events import Fragment, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from domain.registry import Registration
from domain.settings import Settings
from domain.topics import EVENTS, MAX_RECORD_BYTES, MAX_REJECTED_BYTES, MEDIA, REGISTRY, REJECTED
from streams.ingest.backoff import Backoff
from streams.ingest.days import day_session, midnight_after
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.service import IngestService
from streams.ingest.sink import Sink
from streams.ingest.standing import Standing
from tests.streams.flaky_bus import FlakyBus, everything, flaky, until_count
from tests.streams.units import START, VIDEO, picture

Script = Callable[[str, Sink], Awaitable[None]]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log")
    await bus.start()
    yield bus
    await bus.close()


class Rig:
    """An ingest worker whose cameras follow a script."""

    def __init__(self, bus: FlakyBus, tmp_path: Path, script: Script, clock: Clock | None = None) -> None:
        self.bus = bus
        self.waits: list[tuple[float, float]] = []

        async def pull(url: str, sink: Sink, options: RtspOptions, clock: Clock) -> None:
            await script(url, sink)

        self.service = IngestService(
            bus,
            Settings(spool=str(tmp_path / "spool"), worker_id="w"),
            clock or SystemClock(),
            pull=pull,
            new_backoff=lambda: Backoff(lambda: 1.0, first_s=0.01, most_s=0.05),
        )

    async def register(self, recorder_id: str) -> None:
        registration = Registration(
            recorder_id=recorder_id, kind="premises_camera", policy="wucheng", url=f"rtsp://host/{recorder_id}"
        )
        await self.bus.publish(REGISTRY.name, recorder_id, wire.encode(registration))

    async def told(self, kind: type) -> list[object]:
        events = [wire.decode_event(record.value or b"") for record in await everything(self.bus, EVENTS.name)]
        return [event for event in events if isinstance(event, kind)]


async def feed_second(sink: Sink, from_ms: int, gop: int = 25) -> None:
    for index in range(25):
        sink.on_unit(picture(index, from_ms + index * 40, index % gop == 0))


async def test_a_camera_is_pulled_anew_when_it_is_known_by_another_certificate(bus: FlakyBus, tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def pull(url: str, sink: Sink, options: RtspOptions, clock: Clock) -> None:
        seen.append(options.tls_sha256)
        await asyncio.Event().wait()

    settings = Settings(spool=str(tmp_path / "spool"), worker_id="w")
    service = IngestService(bus, settings, SystemClock(), pull=pull)
    await service.start()
    for sha256 in ("a" * 64, "a" * 64, ":".join(["B0"] * 32)):
        camera = Registration(
            recorder_id="cam-1", kind="room_camera", policy="wucheng", url="rtsps://host/", tls_sha256=sha256
        )
        await bus.publish(REGISTRY.name, "cam-1", wire.encode(wire.decode_registration(wire.encode(camera))))
        async with asyncio.timeout(10):
            while not seen or seen[-1] != sha256:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert len(seen) == 2
    await service.stop()


async def test_a_bad_camera_is_tried_again_and_disturbs_no_other(bus: FlakyBus, tmp_path: Path) -> None:
    attempts = {"bad": 0, "rude": 0, "broken": 0}
    enough = asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        name = url.rsplit("/", 1)[1]
        if name == "good":
            sink.on_tracks([VIDEO])
            for second in range(3):
                await feed_second(sink, second * 1000)
            await enough.wait()
            return
        attempts[name] += 1
        if min(attempts.values()) >= 4:
            enough.set()
        errors = {
            "bad": Unavailable("no route"),
            "rude": NotAuthorized("who are you"),
            "broken": ZeroDivisionError("x"),
        }
        raise errors[name]

    rig = Rig(bus, tmp_path, script)
    for name in ("good", "bad", "rude", "broken"):
        await rig.register(name)
    await rig.service.start()
    await asyncio.wait_for(enough.wait(), 10)
    await rig.service.stop()
    assert len(await rig.told(Fragment)) == 3
    rejected = await everything(bus, REJECTED.name)
    assert sorted((record.key, record.headers["detail"]) for record in rejected) == [
        ("broken", b"ZeroDivisionError: x"),
        ("rude", b"NotAuthorized: who are you"),
    ]


async def test_each_connection_is_a_feed_of_its_own(bus: FlakyBus, tmp_path: Path) -> None:
    rounds = 0
    done = asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 3:
            done.set()
            await asyncio.Event().wait()
        sink.on_tracks([VIDEO])
        await feed_second(sink, rounds * 2000)
        raise InvalidMedia("went mad")

    rig = Rig(bus, tmp_path, script)
    await rig.register("cam-1")
    await rig.service.start()
    await asyncio.wait_for(done.wait(), 10)
    await rig.service.stop()
    fragments = [one for one in await rig.told(Fragment) if isinstance(one, Fragment)]
    assert [one.seq for one in fragments] == [0, 0, 0]
    assert len({one.feed_id for one in fragments}) == 3
    assert len({one.session_id for one in fragments}) == 1
    assert len(await rig.told(SessionOpened)) == 1


async def test_a_day_ends_at_the_first_keyframe_after_midnight(bus: FlakyBus, tmp_path: Path) -> None:
    midnight = Instant.parse("2026-03-03T00:00:00+08:00")
    done = asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        sink.on_tracks([VIDEO])
        for index in range(500):
            sink.on_unit(picture(index, midnight - START - 10_200 + index * 40, index % 50 == 0))
        done.set()
        await asyncio.Event().wait()

    rig = Rig(bus, tmp_path, script, ManualClock(midnight.plus(-10_000)))
    await rig.register("cam-1")
    await rig.service.start()
    await asyncio.wait_for(done.wait(), 10)
    await rig.service.stop()
    events = [wire.decode_event(record.value or b"") for record in await everything(bus, EVENTS.name)]
    kinds = [type(event).__name__ for event in events]
    ended = kinds.index("SessionEnded")
    assert kinds[ended - 1 : ended + 3] == ["Fragment", "SessionEnded", "SessionOpened", "Fragment"]
    end = events[ended]
    assert isinstance(end, SessionEnded)
    assert (end.session_id, abs(end.completed_at - midnight) <= 2_000) == ("cam-1-20260302", True)
    fragments = [event for event in events if isinstance(event, Fragment)]
    for fragment in fragments:
        keyframe_after_midnight = fragment.captured_at >= midnight.plus(1_800)
        assert fragment.session_id == ("cam-1-20260303" if keyframe_after_midnight else "cam-1-20260302")
    media = await everything(bus, MEDIA.name)
    told = [index for index, record in enumerate(media) if not record.value and "event" in record.headers]
    sessions = [wire.decode_event(record.headers["event"]) for record in media[: told[0]]]
    assert {one.session_id for one in sessions if isinstance(one, Fragment)} == {"cam-1-20260302"}


async def test_a_day_without_media_ends_too(bus: FlakyBus, tmp_path: Path) -> None:
    clock = ManualClock(START)

    async def script(url: str, sink: Sink) -> None:
        sink.on_tracks([VIDEO])
        await feed_second(sink, 0)
        raise Unavailable("gone for days")

    rig = Rig(bus, tmp_path, script, clock)
    await rig.register("cam-1")
    await rig.service.start()
    await until_count(bus, MEDIA.name, 2)
    clock.advance(86_400)
    async with asyncio.timeout(10):
        while not (ends := await rig.told(SessionEnded)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    (end,) = ends
    assert isinstance(end, SessionEnded)
    assert (end.session_id, end.completed_at) == ("cam-1-20260302", Instant.parse("2026-03-03T00:00:00+08:00"))
    await rig.service.stop()


async def test_a_registration_that_cannot_be_read_is_told(bus: FlakyBus, tmp_path: Path) -> None:
    async def script(url: str, sink: Sink) -> None:
        await asyncio.Event().wait()

    rig = Rig(bus, tmp_path, script)
    await bus.publish(REGISTRY.name, "cam-1", b'{"recorder_id":"cam-1","kind":"toaster","policy":"wucheng"}')
    await bus.publish(REGISTRY.name, "cam-2", b'{"recorder_id":"cam-3","kind":"room_camera","policy":"wucheng"}')
    await rig.register("cam-4")
    await rig.service.start()
    rejected = await until_count(bus, REJECTED.name, 2)
    assert {record.headers["reason"] for record in rejected} == {b"registration"}
    assert {record.key for record in rejected} == {"cam-1", "cam-2"}
    assert b"kind" in next(record.headers["detail"] for record in rejected if record.key == "cam-1")
    await rig.service.stop()


def test_days_are_chinas() -> None:
    assert day_session("cam-1", Instant.parse("2026-03-02T15:59:59Z")) == "cam-1-20260302"
    assert day_session("cam-1", Instant.parse("2026-03-02T16:00:00Z")) == "cam-1-20260303"
    assert midnight_after("cam-1-20260302") == Instant.parse("2026-03-02T16:00:00Z")
    assert midnight_after("cam-1-20261302") is None
    assert midnight_after("an-inspection") is None


async def test_a_killed_worker_pulls_again_before_it_has_heard_from_the_log(bus: FlakyBus, tmp_path: Path) -> None:
    pulled = asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        pulled.set()
        await asyncio.Event().wait()

    first = Rig(bus, tmp_path, script)
    await first.register("cam-1")
    await first.service.start()
    await asyncio.wait_for(pulled.wait(), 10)
    standing = tmp_path / "spool/w/standing.json"
    async with asyncio.timeout(10):
        while not standing.is_file() or b'"pulled":["cam-1"]' not in standing.read_bytes():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await first.service.stop()

    pulled.clear()
    away = flaky(tmp_path / "no-log")  # never started
    second = Rig(away, tmp_path, script)
    second.service.open()
    await asyncio.wait_for(pulled.wait(), 10)
    assert second.service.remembers
    assert second.service.registration("cam-1") is not None
    assert second.service.not_ready()
    assert not second.service.knows_registrations, "so that nobody is refused by what an earlier life knew"
    with pytest.raises(Unavailable):
        await second.service.start()
    assert second.service.cameras.pulled == {"cam-1"}, "it goes on until the log is there"
    await second.service.stop(0)


async def test_a_camera_is_let_go_when_another_worker_is_heard_and_not_before(
    bus: FlakyBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group may count on a member that was killed: what it was given is pulled by nobody."""
    monkeypatch.setattr("streams.ingest.cameras.LINGER_S", 0.2)
    pulled, ended = asyncio.Event(), asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        pulled.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    rig = Rig(bus, tmp_path, script)
    await rig.register("cam-1")
    await rig.service.start()
    await asyncio.wait_for(pulled.wait(), 10)
    cameras = rig.service.cameras
    monkeypatch.setattr(type(cameras), "is_mine", lambda self, recorder_id: False)
    await asyncio.sleep(1.5)
    assert not ended.is_set()
    assert cameras.pulled == {"cam-1"}
    heard = Fragment(
        at=SystemClock().now().plus(2_000),
        recorder_id="cam-1",
        session_id="cam-1-day",
        feed_id="of-another-worker",
        seq=0,
        captured_at=SystemClock().now().plus(1_000),
        duration_s=1.0,
        bytes=1,
        sha256="0" * 64,
        codec="avc1",
    )
    await bus.publish(EVENTS.name, "cam-1", wire.encode(heard))
    await asyncio.wait_for(ended.wait(), 10)
    await rig.service.stop()


async def test_what_is_put_before_the_log_is_started_waits_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(url: str, sink: Sink) -> None:
        await asyncio.Event().wait()

    late = flaky(tmp_path / "log")
    rig = Rig(late, tmp_path, script)
    rig.service.open()
    await rig.service.record(SessionOpened(at=START, recorder_id="rec-1", session_id="s"))
    await asyncio.sleep(0.3)  # longer than the spool waits between attempts
    assert "spool" not in caplog.text
    await late.start()
    await rig.service.start()
    await until_count(late, EVENTS.name, 1)
    await rig.service.stop()
    await late.close()


async def test_what_stood_in_an_earlier_life_and_not_on_the_log_is_forgotten(bus: FlakyBus, tmp_path: Path) -> None:
    async def script(url: str, sink: Sink) -> None:
        await asyncio.Event().wait()

    gone = Registration(recorder_id="cam-9", kind="premises_camera", policy="wucheng", url="rtsp://host/9")
    (tmp_path / "spool/w").mkdir(parents=True)
    (tmp_path / "spool/w/standing.json").write_bytes(msgspec.json.encode(Standing([gone], ["cam-9"])))
    rig = Rig(bus, tmp_path, script)
    await rig.service.start()
    async with asyncio.timeout(10):
        while rig.service.cameras.pulled:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert rig.service.registration("cam-9") is None
    assert rig.service.knows_registrations
    await rig.service.stop()


async def test_a_feed_that_was_cut_off_is_told_to_have_been_stopped_by_us(bus: FlakyBus, tmp_path: Path) -> None:
    ready = asyncio.Event()

    async def script(url: str, sink: Sink) -> None:
        sink.on_tracks([VIDEO])
        await feed_second(sink, 0)
        await feed_second(sink, 1000)
        ready.set()
        await asyncio.Event().wait()

    first = Rig(bus, tmp_path, script)
    await first.register("cam-1")
    await first.service.start()
    await asyncio.wait_for(ready.wait(), 10)
    await until_count(bus, MEDIA.name, 1)
    async with asyncio.timeout(10):
        while not list((tmp_path / "spool/w").glob("*.journal")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    copy = tmp_path / "killed"
    await asyncio.sleep(0.5)  # the journal is written each 0.2 s
    shutil.copytree(tmp_path / "spool", copy)  # as kill -9 would have left it
    await first.service.stop()

    second = IngestService(bus, Settings(spool=str(copy), worker_id="w"), SystemClock(), pull=_idle)
    before = len(await everything(bus, EVENTS.name))
    await second.start()
    records = await until_count(bus, EVENTS.name, before + 3)
    await second.stop()
    events = [wire.decode_event(record.value or b"") for record in records]
    goes_on = {one.at for one in events if isinstance(one, SessionResumed)}
    (cut_off,) = [one for one in events if isinstance(one, SessionStopped) and one.at.plus(1) in goes_on]
    assert cut_off.reason == "server"
    assert cut_off.last_captured_at > START


async def _idle(url: str, sink: Sink, options: RtspOptions, clock: Clock) -> None:
    await asyncio.Event().wait()


async def test_a_foreign_key_and_a_record_larger_than_any_of_ours_stop_nobody(bus: FlakyBus, tmp_path: Path) -> None:
    async def script(url: str, sink: Sink) -> None:
        await asyncio.Event().wait()

    rig = Rig(bus, tmp_path, script)
    await bus.publish(REGISTRY.name, "../../up", b"rubbish")
    await bus.publish(REGISTRY.name, "huge", bytes(MAX_RECORD_BYTES))
    await rig.register("cam-4")
    await rig.service.start()
    rejected = {record.key: record for record in await until_count(bus, REJECTED.name, 2)}
    assert rejected.keys() == {"unknown", "huge"}
    assert b"../../up" in rejected["unknown"].headers["detail"]
    assert len(rejected["huge"].value or b"") == MAX_REJECTED_BYTES
    await until_count(bus, EVENTS.name, 1)
    await rig.service.stop()
