"""The ingest role, end to end: real RTSP from GStreamer's server, the embedded log, restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from domain import wire
from domain.bus import Record
from domain.clock import SystemClock
from domain.events import Fragment, RecorderRegistered, SessionOpened, SessionResumed, SessionStopped
from domain.registry import Registration
from domain.settings import Settings
from domain.topics import EVENTS, MEDIA, REGISTRY
from streams.ingest.mp4.boxes import top_level
from streams.ingest.service import IngestService
from tests.services.gstreamer import GstRtspServer
from tests.services.samples import Samples
from tests.streams.flaky_bus import FlakyBus, everything, flaky
from tests.streams.units import packets, read_units

Condition = Callable[[list[Record]], bool]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log", partitions=4)
    await bus.start()
    yield bus
    await bus.close()


def service(bus: FlakyBus, tmp_path: Path, worker_id: str = "w1") -> IngestService:
    return IngestService(bus, Settings(spool=str(tmp_path / "spool"), worker_id=worker_id), SystemClock())


async def register(bus: FlakyBus, recorder_id: str, url: str | None, state: str = "active") -> None:
    registration = Registration(
        recorder_id=recorder_id,
        kind="premises_camera",
        policy="wucheng",
        url=url,
        state=state,  # type: ignore[arg-type]
    )
    await bus.publish(REGISTRY.name, recorder_id, wire.encode(registration))


async def until(bus: FlakyBus, topic: str, condition: Condition, within_s: float = 30) -> list[Record]:
    async with asyncio.timeout(within_s):
        while not condition(found := await everything(bus, topic)):  # noqa: ASYNC110 - polls the log, as others do
            await asyncio.sleep(0.05)
    return found


def fragments(records: list[Record], recorder_id: str = "cam-1") -> list[Fragment]:
    events = [wire.decode_event(record.value or b"") for record in records if record.key == recorder_id]
    return [event for event in events if isinstance(event, Fragment)]


def kinds(records: list[Record]) -> list[str]:
    found = [type(wire.decode_event(record.value or b"")).__name__ for record in records]
    return [kind for kind in found if kind != "Fragment"]


def segments_of(records: list[Record]) -> list[bytes]:
    gathered: list[bytes] = []
    for record in records:
        data = record.value or b""
        if not data:
            continue
        if "segment" in record.headers:
            gathered.append(data)
        else:
            gathered[-1] += data[[box.end for box in top_level(data)][1] :]
    return gathered


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", ["small", "bframes", "h265", "alaw"])
async def test_what_a_camera_sent_is_what_is_on_the_log(
    name: str, bus: FlakyBus, tmp_path: Path, gst_rtsp: GstRtspServer, samples: Samples
) -> None:
    await register(bus, "cam-1", gst_rtsp.url(f"/{name}"))
    ingest = service(bus, tmp_path)
    await ingest.start()
    await until(bus, EVENTS.name, lambda found: sum(one.duration_s for one in fragments(found)) > 4)
    await ingest.stop()

    media = [record for record in await everything(bus, MEDIA.name) if record.value]
    events = fragments(await everything(bus, EVENTS.name))
    assert [record.headers["event"] for record in media] == [wire.encode(event) for event in events]
    assert [event.seq for event in events] == list(range(len(events)))
    assert sum(event.lost_packets for event in events[1:]) == 0, "the first counts the sound before its keyframe"
    sent = {unit.data for unit in read_units(samples.get(name).path)}
    stored = [packet.data for data in segments_of(media) for run in packets(data).values() for packet in run]
    assert len(stored) > 150
    pictures = [data for data in stored if len(data) > 200]
    assert sum(_is_part(data, sent) for data in pictures) >= len(pictures) - 2


def _is_part(data: bytes, sent: set[bytes]) -> bool:
    """Whether a unit is one that was sent; payloaders put parameter sets before keyframes of their own accord."""
    return data in sent or any(data.endswith(one[-200:]) for one in sent)


@pytest.mark.gstreamer
async def test_a_registration_is_told_pulled_changed_and_stopped(
    bus: FlakyBus, tmp_path: Path, gst_rtsp: GstRtspServer
) -> None:
    ingest = service(bus, tmp_path)
    await ingest.start()
    await register(bus, "cam-1", gst_rtsp.url("/small"))
    await register(bus, "body-1", None)
    found = await until(bus, EVENTS.name, lambda found: len(fragments(found)) >= 1)
    assert kinds([one for one in found if one.key == "cam-1"]) == ["RecorderRegistered", "SessionOpened"]
    assert kinds([one for one in found if one.key == "body-1"]) == ["RecorderRegistered"]
    assert ingest.cameras.pulled == {"cam-1"}
    (session,) = {event.session_id for event in fragments(found)}
    assert ingest.open_session("cam-1") == session
    assert ingest.session_recorder(session) == "cam-1"

    await register(bus, "cam-1", gst_rtsp.url("/silent"))
    await until(bus, EVENTS.name, lambda found: fragments(found)[-1].codec == "h264")
    await register(bus, "cam-1", gst_rtsp.url("/silent"), state="suspended")
    found = await until(bus, EVENTS.name, lambda found: "SessionStopped" in kinds(found))
    assert ingest.cameras.pulled == set()
    told = [wire.decode_event(one.value or b"") for one in found if one.key == "cam-1"]
    assert [one.active for one in told if isinstance(one, RecorderRegistered)] == [True, True, False]
    assert len({event.feed_id for event in fragments(found)}) == 2
    assert {event.session_id for event in fragments(found)} == {session}
    ends = [record for record in await everything(bus, MEDIA.name) if "feed_end" in record.headers]
    assert {record.headers["feed_end"].decode() for record in ends} == {one.feed_id for one in fragments(found)}
    await ingest.stop()


@pytest.mark.gstreamer
async def test_a_shutdown_says_so_and_a_restart_goes_on_in_the_same_session(
    bus: FlakyBus, tmp_path: Path, gst_rtsp: GstRtspServer
) -> None:
    await register(bus, "cam-1", gst_rtsp.url("/small"))
    first = service(bus, tmp_path)
    await first.start()
    await until(bus, EVENTS.name, lambda found: len(fragments(found)) >= 2)
    await first.stop()
    second = service(bus, tmp_path)
    await second.start()
    before = len(fragments(await everything(bus, EVENTS.name)))
    found = await until(bus, EVENTS.name, lambda found: len(fragments(found)) > before)
    await second.stop()
    events = [wire.decode_event(record.value or b"") for record in found]
    told = [event for event in events if not isinstance(event, Fragment)]
    assert [type(event) for event in told[:4]] == [RecorderRegistered, SessionOpened, SessionStopped, SessionResumed]
    stopped = told[2]
    assert isinstance(stopped, SessionStopped)
    assert stopped.reason == "server"
    assert len({event.session_id for event in fragments(found)}) == 1


@pytest.mark.gstreamer
async def test_recording_goes_on_while_the_log_is_away(bus: FlakyBus, tmp_path: Path, gst_rtsp: GstRtspServer) -> None:
    await register(bus, "cam-1", gst_rtsp.url("/small"))
    ingest = service(bus, tmp_path)
    await ingest.start()
    await until(bus, EVENTS.name, lambda found: len(fragments(found)) >= 1)
    bus.away = True
    async with asyncio.timeout(20):
        while len(list((tmp_path / "spool" / "w1").glob("*.parcel"))) < 4:  # noqa: ASYNC110 - polls the disk
            await asyncio.sleep(0.05)
    bus.away = False
    await asyncio.wait_for(ingest.spool.drained(), 20)
    await ingest.stop()
    events = fragments(await everything(bus, EVENTS.name))
    assert [event.seq for event in events if event.feed_id == events[0].feed_id][:5] == [0, 1, 2, 3, 4]


@pytest.mark.gstreamer
async def test_two_workers_share_the_cameras_and_one_takes_over(
    bus: FlakyBus, tmp_path: Path, gst_rtsp: GstRtspServer
) -> None:
    recorders = [f"cam-{number}" for number in range(6)]
    for recorder_id in recorders:
        await register(bus, recorder_id, gst_rtsp.url("/small"))
    one, two = service(bus, tmp_path, "w1"), service(bus, tmp_path, "w2")
    await one.start()
    await two.start()
    async with asyncio.timeout(20):
        while not one.cameras.pulled or len(one.cameras.pulled) + len(two.cameras.pulled) != 6:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not one.cameras.pulled & two.cameras.pulled
    await one.stop()
    async with asyncio.timeout(20):
        while len(two.cameras.pulled) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await two.stop()
