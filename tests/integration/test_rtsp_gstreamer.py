"""The RTSP client against GStreamer's server: what comes in is, bit for bit, what was in the file."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Literal
from urllib.parse import quote

import av
import pytest
import uvloop

from domain.errors import NotAuthorized, Unavailable
from domain.media import AccessUnit, Codec, TrackParams
from streams.ingest.rtsp.client import run
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.sink import NoteKind
from tests.services.gstreamer import GstRtspServer
from tests.services.samples import Sample, Samples

ServerFactory = Callable[..., GstRtspServer]


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Ingest runs on uvloop; the client must not depend on it."""
    if request.param == "uvloop":
        policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
        return policy
    return asyncio.DefaultEventLoopPolicy()


class Collector:
    """A sink that keeps everything and can be waited on."""

    def __init__(self) -> None:
        self.tracks: Sequence[TrackParams | None] = []
        self.units: list[AccessUnit] = []
        self.notes: list[tuple[NoteKind, str]] = []
        self.first = asyncio.Event()

    def on_tracks(self, tracks: Sequence[TrackParams | None]) -> None:
        self.tracks = tracks

    def on_unit(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        if len(self.units) > 20:
            self.first.set()

    def on_note(self, kind: NoteKind, detail: str) -> None:
        self.notes.append((kind, detail))

    def of_kind(self, video: bool) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.params.codec.is_video == video]


def nal_units(data: bytes) -> list[bytes]:
    nals, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        nals.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == len(data)
    return nals


def pictures(data: bytes, codec: Codec) -> list[bytes]:
    """The slices alone: a sender adds parameter sets and delimiters of its own."""
    if codec == Codec.H264:
        return [nal for nal in nal_units(data) if 1 <= nal[0] & 31 <= 5]
    return [nal for nal in nal_units(data) if (nal[0] >> 1) & 63 < 32]


def source_packets(sample: Sample, kind: str) -> tuple[list[bytes], list[int]]:
    """Packets of the file and their presentation times in ms from the first one's."""
    with av.open(str(sample.path)) as container:
        stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        base = stream.time_base or Fraction(1)
        times = [round(1000 * (packet.pts or 0) * base) for packet in packets]
        return [bytes(packet) for packet in packets], [time - times[0] for time in times]


async def pull_to_the_end(url: str, options: RtspOptions) -> Collector:
    sink = Collector()
    with pytest.raises(Unavailable, match=r"BYE|no picture for"):
        await run(url, sink, options)
    return sink


def assert_video_is_the_source(sink: Collector, sample: Sample) -> None:
    expected, times = source_packets(sample, "video")
    units = sink.of_kind(video=True)
    codec = units[0].params.codec
    assert [pictures(unit.data, codec) for unit in units] == [pictures(packet, codec) for packet in expected]
    assert not any(unit.damaged or unit.lost_packets for unit in units)
    rate = units[0].params.clock_rate
    for unit, time_ms in zip(units, times, strict=True):
        assert abs(1000 * (unit.pts - units[0].pts) / rate - time_ms) <= 1
    assert units[0].keyframe


def assert_sound_is_the_source(sink: Collector, sample: Sample) -> None:
    units = sink.of_kind(video=False)
    if sample.recipe.audio is None:
        assert not units
        return
    expected, _ = source_packets(sample, "audio")
    got = [unit.data for unit in units]
    if sample.recipe.audio in {"alaw", "mulaw"}:  # samples, not frames: a sender cuts them anew
        assert b"".join(got) == b"".join(expected), sample.name
    else:
        skipped = expected.index(got[0])  # the server leaves out priming frames, which the file's edit list hides
        assert skipped <= 2, sample.name
        assert got == expected[skipped : skipped + len(got)], sample.name
        assert len(got) + skipped >= len(expected) - 1, sample.name
    assert not any(unit.lost_packets for unit in units)


def assert_capture_times_hold(sink: Collector) -> None:
    """Never after arrival, never against media time, and near what the media says."""
    for unit in sink.units:
        assert 0 <= unit.arrived_at - unit.captured_at < 5_000
    for video in (True, False):
        shown = sorted(sink.of_kind(video), key=lambda unit: unit.pts)
        for before, after in pairwise(shown):
            assert after.captured_at >= before.captured_at


NAMES = ["silent", "small", "bframes", "h265", "alaw", "mulaw", "opus", "irregular"]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_every_codec_comes_through_unchanged(
    transport: Literal["tcp", "udp"], samples: Samples, gst_rtsp: GstRtspServer
) -> None:
    options = RtspOptions(transport=transport, silence_timeout_s=4)
    sinks = await asyncio.gather(*(pull_to_the_end(gst_rtsp.url(f"/{name}"), options) for name in NAMES))
    for name, sink in zip(NAMES, sinks, strict=True):
        sample = samples.get(name)
        assert_video_is_the_source(sink, sample)
        assert_sound_is_the_source(sink, sample)
        assert_capture_times_hold(sink)
        assert not [note for note in sink.notes if note[0] in {NoteKind.LOSS, NoteKind.REJECTED}]


@pytest.mark.parametrize("method", ["basic", "digest"])
async def test_credentials_are_answered_and_never_shown(
    method: str, samples: Samples, gst_rtsp_factory: ServerFactory
) -> None:
    server = gst_rtsp_factory({"/cam": samples.get("silent").pipeline()}, auth=method)
    sink = Collector()
    user, password = quote(server.username, safe=""), quote(server.password, safe="")
    url = server.url("/cam").replace("rtsp://", f"rtsp://{user}:{password}@")
    task = asyncio.create_task(run(url, sink))
    async with asyncio.timeout(10):
        await sink.first.wait()
    await stop(task)

    for wrong in (server.url("/cam"), server.url("/cam").replace("rtsp://", f"rtsp://{user}:not-{password}@")):
        with pytest.raises(NotAuthorized) as raised:
            await run(wrong, Collector())
        assert password not in str(raised.value)
        assert server.password not in str(raised.value)
        assert server.username not in str(raised.value)


async def test_a_mount_point_that_is_not_there_is_refused_by_name(gst_rtsp: GstRtspServer) -> None:
    with pytest.raises(Unavailable, match=r"/nothing refused DESCRIBE: 404"):
        await run(gst_rtsp.url("/nothing"), Collector())


async def test_a_server_killed_in_the_middle_is_noticed_at_once_and_nothing_given_is_damaged(
    samples: Samples, gst_rtsp_factory: ServerFactory
) -> None:
    sample = samples.get("small")
    server = gst_rtsp_factory({"/cam": sample.pipeline()})
    sink = Collector()
    task = asyncio.create_task(run(server.url("/cam"), sink))
    async with asyncio.timeout(10):
        await sink.first.wait()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="closed the connection"):
        async with asyncio.timeout(3):
            await task
    expected, _ = source_packets(sample, "video")
    units = sink.of_kind(video=True)
    whole = [pictures(unit.data, Codec.H264) for unit in units if not unit.damaged]
    assert whole == [pictures(packet, Codec.H264) for packet in expected[: len(whole)]]
    assert len(units) - len(whole) <= 1  # the last one may be cut


async def test_a_server_that_stops_sending_is_given_up_after_the_silence_allowed(
    samples: Samples, gst_rtsp_factory: ServerFactory
) -> None:
    server = gst_rtsp_factory({"/cam": samples.get("small").pipeline()})
    sink = Collector()
    task = asyncio.create_task(run(server.url("/cam"), sink, RtspOptions(silence_timeout_s=1.5)))
    async with asyncio.timeout(10):
        await sink.first.wait()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match=r"no picture for 1\.5 s"):
            async with asyncio.timeout(5):
                await task
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
