"""A look at a camera: what it says of a good one, and how little of everything else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import cv2
import numpy as np
import pytest

from domain.clock import SystemClock
from domain.errors import InvalidInput, InvalidSettings
from domain.probe import ProbeRequest, ProbeResult
from streams.probing.networks import NotAllowed, NotFound, allowed_address, networks_of
from streams.probing.prober import Prober
from streams.simulate.rtsp_server import CameraServer
from streams.simulate.script import Device, Fault
from streams.simulate.source import Source

LOOPBACK = networks_of("127.0.0.0/8")
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 {codec}/90000\r\n"


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    made = Prober(LOOPBACK, within_s=30)  # a busy machine takes long to start the process that decodes
    yield made
    await made.close()


@asynccontextmanager
async def cameras(*devices: Device) -> AsyncIterator[CameraServer]:
    clock = SystemClock()
    sources = [Source(device, clock, opus=False) for device in devices]
    server = CameraServer(sources, clock)
    await server.start("127.0.0.1", 0)
    for source in sources:
        source.start()
    try:
        yield server
    finally:
        await server.stop()
        await asyncio.gather(*(source.stop() for source in sources))


@asynccontextmanager
async def answering(answer: Callable[[str], str]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers every request with a text; gives its address, and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := (await reader.readuntil(b"\r\n\r\n")).decode():
                asked.append(request)
                cseq = request.split("CSeq: ")[1].split("\r\n")[0]
                writer.write(answer(request).replace("CSEQ", cseq).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


def device(name: str, *faults: Fault) -> Device:
    return Device(id=name, kind="premises_camera", fault=list(faults))


async def test_a_good_camera_shows_its_first_picture(prober: Prober) -> None:
    async with cameras(device("cam-1")) as server:
        found = await prober(ProbeRequest(url=server.url("cam-1")))
    assert (found.trouble, found.codec) == ("", "h264")
    picture = cv2.imdecode(np.frombuffer(found.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[:2] == (found.height, found.width)
    assert picture.std() > 10, "something is on it"
    assert 5 < found.fps < 40
    assert found.bits_per_s > 1000
    assert found.audio == "pcma"
    assert found.clock_offset_s is not None
    assert abs(found.clock_offset_s) < 5


async def test_a_camera_that_plays_and_sends_nothing() -> None:
    prober = Prober(LOOPBACK, within_s=6)
    async with cameras(device("cam-1", Fault(at_s=0, do="mute_stream"))) as server:
        assert (await prober(ProbeRequest(url=server.url("cam-1")))).trouble == "no_media"
    await prober.close()


async def test_an_address_with_no_camera_behind_it(prober: Prober) -> None:
    async with cameras(device("cam-1")) as server:
        assert (await prober(ProbeRequest(url=server.url("cam-2")))).trouble == "refused"
        address = server.url("cam-1")
    assert await prober(ProbeRequest(url=address)) == ProbeResult(trouble="unreachable")


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ("RTSP/1.0 401 Unauthorized\r\nCSeq: CSEQ\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", "unauthorized"),
        ("RTSP/1.0 403 Forbidden\r\nCSeq: CSEQ\r\n\r\n", "unauthorized"),
        ("HTTP/1.1 200 OK\r\nCSeq: CSEQ\r\n\r\n", "not_rtsp"),
        ("\x00\x01\x02 SSH-2.0", "not_rtsp"),
        (
            f"RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(SDP.format(codec='VP8'))}\r\n\r\n{SDP.format(codec='VP8')}",
            "codec",
        ),
    ],
)
async def test_what_is_in_the_way_is_one_word(prober: Prober, answer: str, trouble: str) -> None:
    async with answering(lambda _: answer) as (address, _):
        found = await prober(ProbeRequest(url=f"rtsp://user:hunter2@{address}/1"))
    assert found == ProbeResult(trouble=trouble)  # type: ignore[arg-type]
    assert "hunter2" not in repr(found) + repr(ProbeRequest(url=f"rtsp://user:hunter2@{address}/1"))


async def test_a_redirect_leads_nowhere(prober: Prober) -> None:
    async with answering(lambda _: "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\n\r\n") as (inner, asked):
        moved = f"RTSP/1.0 302 Found\r\nCSeq: CSEQ\r\nLocation: rtsp://{inner}/secret\r\n\r\n"
        async with answering(lambda _: moved) as (address, _):
            assert (await prober(ProbeRequest(url=f"rtsp://{address}/1"))).trouble == "refused"
    assert asked == []


async def test_outside_the_networks_nothing_is_asked() -> None:
    prober = Prober(networks_of("10.0.0.0/8, 192.168.0.0/16"))
    async with answering(lambda _: "") as (address, asked):
        port = address.partition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
            assert (await prober(ProbeRequest(url=f"rtsp://{host}:{port}/1"))).trouble == "not_allowed"
    assert asked == []
    await prober.close()


async def test_only_cameras_have_addresses(prober: Prober) -> None:
    for url in ("http://127.0.0.1/", "file:///etc/passwd", "rtsp://", "rtsp://a b/"):
        with pytest.raises(InvalidInput):
            await prober(ProbeRequest(url=url))


async def test_no_more_looks_at_once_than_may_be(prober: Prober) -> None:
    async with cameras(device("cam-1", Fault(at_s=0, do="mute_stream"))) as server:
        first = [asyncio.create_task(prober(ProbeRequest(url=server.url("cam-1")))) for _ in range(2)]
        await asyncio.sleep(0)
        assert (await prober(ProbeRequest(url=server.url("cam-1")))).trouble == "busy"
        for task in first:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        good = await prober(ProbeRequest(url=server.url("none")))
        assert good.trouble == "refused", "the places are free again"


async def test_addresses_and_networks() -> None:
    assert await allowed_address("localhost", 554, networks_of("127.0.0.0/8,::1/128")) in ("127.0.0.1", "::1")
    assert await allowed_address("::ffff:10.1.2.3", 554, networks_of("10.0.0.0/8")) == "::ffff:a01:203"
    with pytest.raises(NotAllowed):
        await allowed_address("10.1.2.3", 554, networks_of("fc00::/7"))
    with pytest.raises(NotFound):
        await allowed_address("no-such-host.invalid", 554, LOOPBACK)
    with pytest.raises(InvalidSettings, match="camera_networks"):
        networks_of("10.0.0.0/33")
