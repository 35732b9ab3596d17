"""The client against servers that do as they like, over real sockets."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from domain.errors import InvalidMedia, LiuhenError, NotAuthorized, Unavailable
from domain.media import AccessUnit, TrackParams
from streams.ingest.rtsp.client import run
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.sink import NoteKind
from tests.streams.captures import digest, load

QUICK = RtspOptions(
    connect_timeout_s=1, response_timeout_s=0.4, first_media_timeout_s=0.6, silence_timeout_s=0.6, max_redirects=2
)
CAPTURE = load("ffmpeg-h264-bframes")
FMTP = ";".join(f"{name}={value}" for name, value in CAPTURE.media.fmtp.items())
PICTURE = f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 {FMTP}\r\na=control:t=0\r\n"
SDP = "v=0\r\n" + PICTURE
Handler = Callable[["Peer"], Awaitable[None]]


class Sink:
    """Keeps everything."""

    def __init__(self) -> None:
        self.tracks: Sequence[TrackParams | None] = []
        self.units: list[AccessUnit] = []
        self.notes: list[tuple[NoteKind, str]] = []

    def on_tracks(self, tracks: Sequence[TrackParams | None]) -> None:
        self.tracks = tracks

    def on_unit(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def on_note(self, kind: NoteKind, detail: str) -> None:
        self.notes.append((kind, detail))


class Peer:
    """A server's end of one connection, with the requests it got."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: list[str]) -> None:
        self.reader = reader
        self.writer = writer
        self.log = log

    async def request(self) -> str:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        while head.startswith("$"):  # feedback comes before it
            size = int.from_bytes(head.encode()[2:4], "big")
            head = head[4 + size :]
        self.log.append(head)
        return head

    def answer(self, request: str, status: str = "200 OK", headers: str = "", body: str = "") -> None:
        cseq = re.search(r"CSeq: (\d+)", request)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(
            f"RTSP/1.0 {status}\r\nCSeq: {cseq[1] if cseq else ''}\r\n{headers}{length}\r\n{body}".encode()
        )

    async def play(self, sdp: str = SDP, session: str = "Session: 1\r\n") -> None:
        """Answer everything up to PLAY as a good server does."""
        while True:
            request = await self.request()
            method = request.split()[0]
            transport = re.search(r"Transport: (.*)\r\n", request)
            headers = session if method in {"SETUP", "PLAY"} else ""
            headers += f"Transport: {transport[1]}\r\n" if transport else ""
            headers += "Public: OPTIONS, DESCRIBE, GET_PARAMETER\r\n" if method == "OPTIONS" else ""
            self.answer(request, headers=headers, body=sdp if method == "DESCRIBE" else "")
            if method == "PLAY":
                return

    def frame(self, data: bytes, channel: int = 0) -> None:
        self.writer.write(b"$" + bytes((channel,)) + len(data).to_bytes(2, "big") + data)


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[tuple[str, list[str]]]:
    log: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await handler(Peer(reader, writer, log))
            while await reader.read(65_536):
                pass
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", log


async def failure(url: str, sink: Sink, options: RtspOptions = QUICK) -> LiuhenError:
    with pytest.raises(LiuhenError) as raised:
        async with asyncio.timeout(8):
            await run(url, sink, options)
    assert "s3cret" not in str(raised.value)
    return raised.value


async def test_a_good_server_is_pulled_and_its_silence_noticed() -> None:
    async def handler(peer: Peer) -> None:
        await peer.play()
        for packet in CAPTURE.packets:
            peer.frame(packet)
        await peer.writer.drain()

    sink = Sink()
    async with server(handler) as (host, log):
        error = await failure(f"rtsp://{host}/cam?a=1", sink)
    assert isinstance(error, Unavailable)
    assert "no picture for 0.6 s" in str(error)
    assert [digest(unit) for unit in sink.units] == CAPTURE.units
    assert sink.tracks[0] is not None
    assert [line.split("\r\n")[0].rsplit(" ", 1)[0] for line in log[:4]] == [
        f"OPTIONS rtsp://{host}/cam?a=1",
        f"DESCRIBE rtsp://{host}/cam?a=1",
        f"SETUP rtsp://{host}/cam?a=1/t=0",
        f"PLAY rtsp://{host}/cam?a=1",
    ]


async def test_bytes_may_come_in_any_pieces_with_messages_in_between() -> None:
    rng = random.Random(3)

    async def handler(peer: Peer) -> None:
        await peer.play()
        stream = b""
        for index, packet in enumerate(CAPTURE.packets):
            stream += b"$\0" + len(packet).to_bytes(2, "big") + packet
            if index == 3:
                stream += b"OPTIONS * RTSP/1.0\r\nCSeq: 90\r\n\r\n" + b"REDIRECT * RTSP/1.0\r\nCSeq: 91\r\n\r\n"
            if index == 5:
                stream += b"RTSP/1.0 200 OK\r\nCSeq: 4711\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n$\x09\0\1x"
        while stream:
            size = rng.choice((1, 3, 50, 4000))
            peer.writer.write(stream[:size])
            stream = stream[size:]
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert "RTSP/1.0 200 OK\r\nCSeq: 90" in await peer.request()
        assert "RTSP/1.0 501 Not Implemented\r\nCSeq: 91" in await peer.request()

    sink = Sink()
    async with server(handler) as (host, log):
        await failure(f"rtsp://{host}/cam", sink)
    assert [digest(unit) for unit in sink.units] == CAPTURE.units
    assert any("CSeq: 91" in entry for entry in log)
    assert (NoteKind.REJECTED, "1 frames on unknown channels") in sink.notes


async def silent(peer: Peer) -> None:
    del peer


async def rubbish(peer: Peer) -> None:
    peer.writer.write(random.Random(1).randbytes(70_000))


async def endless_head(peer: Peer) -> None:
    peer.writer.write(b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 20_000)


async def endless_body(peer: Peer) -> None:
    peer.writer.write(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 999999999\r\n\r\n")


async def hang_up(peer: Peer) -> None:
    await peer.request()
    peer.writer.close()


async def plays_nothing(peer: Peer) -> None:
    await peer.play()


async def no_sets(peer: Peer) -> None:
    await peer.play("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t=0\r\n")
    for packet in CAPTURE.packets:
        peer.frame(packet)


async def not_found(peer: Peer) -> None:
    for status in ("200 OK", "404 Stream Not Found"):
        peer.answer(await peer.request(), status)


async def metadata_only(peer: Peer) -> None:
    await peer.play("v=0\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n")


async def ends(peer: Peer) -> None:
    await peer.play()
    peer.writer.write(b"TEARDOWN rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "kind", "says"),
    [
        (silent, Unavailable, "did not answer OPTIONS within 0.4 s"),
        (rubbish, InvalidMedia, "neither RTSP nor RTP"),
        (endless_head, InvalidMedia, "neither RTSP nor RTP"),
        (endless_body, InvalidMedia, "Content-Length"),
        (hang_up, Unavailable, "closed the connection"),
        (plays_nothing, Unavailable, "plays, but no picture came within 0.6 s"),
        (no_sets, Unavailable, "pictures came without parameter sets"),
        (not_found, Unavailable, "refused DESCRIBE: 404 Stream Not Found"),
        (metadata_only, InvalidMedia, "no track of a codec that is taken: application vnd.onvif.metadata"),
        (ends, Unavailable, "ended the session"),
    ],
)
async def test_what_failed_is_said(handler: Handler, kind: type[LiuhenError], says: str) -> None:
    async with server(handler) as (host, _):
        error = await failure(f"rtsp://officer:s3cret@{host}/cam?password=s3cret", Sink())
    assert isinstance(error, kind)
    assert says in str(error)
    assert host in str(error) or isinstance(error, InvalidMedia)


async def test_nobody_there_is_said() -> None:
    async with server(silent) as (host, _):
        pass
    error = await failure(f"rtsp://officer:s3cret@{host}/cam", Sink())
    assert isinstance(error, Unavailable)
    assert "no connection" in str(error)


async def test_sound_that_is_not_taken_leaves_the_picture_and_is_said() -> None:
    async def handler(peer: Peer) -> None:
        await peer.play(SDP + "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 G726-32/8000\r\na=control:t=1\r\n")
        for packet in CAPTURE.packets:
            peer.frame(packet)
            peer.frame(packet[:1] + bytes((55,)) + packet[2:])

    sink = Sink()
    async with server(handler) as (host, _):
        await failure(f"rtsp://{host}/cam", sink)
    assert len(sink.units) == len(CAPTURE.units)
    assert sink.tracks[1] is None
    assert (NoteKind.UNSUPPORTED, "track 1 (audio G726-32) is not recorded: no codec that is taken") in sink.notes
    assert any("unknown payload type" in detail for _, detail in sink.notes)


async def test_credentials_go_to_no_other_server_after_a_redirect() -> None:
    async def stranger(peer: Peer) -> None:
        peer.answer(await peer.request(), "401 Unauthorized", 'WWW-Authenticate: Basic realm="give"\r\n')

    async with server(stranger) as (elsewhere, log):

        async def handler(peer: Peer) -> None:
            request = await peer.request()
            if "Authorization" not in request:
                peer.answer(request, "401 Unauthorized", 'WWW-Authenticate: Basic realm="cam"\r\n')
                request = await peer.request()
            peer.answer(request, "302 Moved", f"Location: rtsp://{elsewhere}/new\r\n")

        sink = Sink()
        async with server(handler) as (host, first_log):
            error = await failure(f"rtsp://officer:s3cret@{host}/cam", sink)
    assert isinstance(error, NotAuthorized)
    assert "Authorization: Basic" in first_log[1]
    assert log
    assert not any("Authorization" in request for request in log)
    assert (NoteKind.REDIRECTED, f"redirected to rtsp://{elsewhere}/new") in sink.notes


async def test_redirects_in_a_circle_end() -> None:
    async def handler(peer: Peer) -> None:
        request = await peer.request()
        peer.answer(request, "301 Moved", f"Location: {request.split()[1]}\r\n")

    async with server(handler) as (host, log):
        error = await failure(f"rtsp://{host}/cam", Sink())
    assert "more than 2 redirects" in str(error)
    assert len(log) == 3


async def test_a_refused_transport_is_replaced_by_the_other() -> None:
    async def handler(peer: Peer) -> None:
        peer.answer(await peer.request())
        peer.answer(await peer.request(), body=SDP)
        request = await peer.request()
        assert "client_port" in request
        peer.answer(request, "461 Unsupported Transport")
        request = await peer.request()
        assert "interleaved=0-1" in request
        peer.answer(request, headers="Transport: RTP/AVP/TCP;unicast;interleaved=6-7\r\nSession: abc;timeout=2\r\n")
        peer.answer(await peer.request())
        for packet in CAPTURE.packets:
            peer.frame(packet, channel=6)

    sink = Sink()
    options = RtspOptions(transport="udp", silence_timeout_s=0.6, response_timeout_s=1)
    async with server(handler) as (host, log):
        error = await failure(f"rtsp://{host}/cam", sink, options)
    assert "no picture for" in str(error)
    assert len(sink.units) == len(CAPTURE.units)
    assert sink.notes[0][0] == NoteKind.TRANSPORT
    assert "Session: abc\r\n" in log[4]


async def test_the_session_is_kept_alive_and_torn_down() -> None:
    kept = asyncio.Event()
    torn = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.play(session="Session: 9;timeout=2\r\n")
        for packet in CAPTURE.packets:
            peer.frame(packet)
        while not torn.is_set():
            data = await peer.reader.read(4096)
            if b"GET_PARAMETER" in data and b"Session: 9" in data:
                kept.set()
                peer.writer.write(b"RTSP/1.0 200 OK\r\n\r\n")
            if not data or b"TEARDOWN" in data:
                torn.set()
                peer.log.append(data.decode(errors="replace"))

    async with server(handler) as (host, log):
        task = asyncio.create_task(run(f"rtsp://{host}/cam", Sink(), RtspOptions(silence_timeout_s=30)))
        async with asyncio.timeout(10):
            await kept.wait()
            task.cancel()
            await torn.wait()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert "TEARDOWN" in log[-1]


async def test_one_bad_camera_disturbs_no_other() -> None:
    async def good(peer: Peer) -> None:
        await peer.play()
        for packet in CAPTURE.packets:
            peer.frame(packet)
            await peer.writer.drain()
            await asyncio.sleep(0.002)

    async def bad(peer: Peer) -> None:
        await peer.play()
        rng = random.Random(8)
        for packet in CAPTURE.packets:
            data = bytearray(packet)
            data[rng.randrange(len(data))] ^= 0xFF
            peer.frame(bytes(data))
        await rubbish(peer)

    sinks = [Sink(), Sink(), Sink()]
    async with server(good) as (first, _), server(bad) as (second, _):
        urls = [f"rtsp://{first}/a", f"rtsp://{second}/b", f"rtsp://{first}/c"]
        errors = await asyncio.gather(*(failure(url, sink) for url, sink in zip(urls, sinks, strict=True)))
    assert isinstance(errors[1], InvalidMedia | Unavailable)
    for sink in (sinks[0], sinks[2]):
        assert [digest(unit) for unit in sink.units] == CAPTURE.units
