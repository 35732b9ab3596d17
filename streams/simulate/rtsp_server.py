"""A small RTSP server (RFC 2326, interleaved TCP): the simulated cameras, one path each.

It starts a viewer at the next keyframe. What a viewer cannot take is dropped at `OUT_LIMIT_BYTES`, as a camera with a
full send buffer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable

from domain.clock import Clock
from domain.errors import Unavailable
from streams.simulate.rtp import RtpStream
from streams.simulate.scene import AUDIO_RATE, EncodedUnit
from streams.simulate.script import Do
from streams.simulate.source import Source

OUT_LIMIT_BYTES = 4_000_000
REPORT_EVERY_S = 2.0
_HEADER_LIMIT = 16_384
_UNREACHABLE: tuple[Do, ...] = ("refuse", "pull_cable", "power_off")
_SILENT: tuple[Do, ...] = ("mute_stream", "pull_cable", "power_off")


class CameraServer:
    """Serves sources at `rtsp://host:port/<recorder id>`."""

    def __init__(self, sources: list[Source], clock: Clock) -> None:
        self._sources = {source.device.id: source for source in sources}
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._viewers: set[_Viewer] = set()
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            Unavailable: The port is taken.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=_HEADER_LIMIT)
        except OSError as error:
            msg = f"rtsp: cannot listen on {host}:{port}: {error}"
            raise Unavailable(msg) from error
        bound = self._server.sockets[0].getsockname()
        self.address = f"{bound[0]}:{bound[1]}"

    def url(self, recorder_id: str) -> str:
        """Return the address of one camera."""
        return f"rtsp://{self.address}/{recorder_id}"

    def hang_up(self, recorder_id: str) -> None:
        """Drop every viewer of a camera, as a pulled cable does in the end."""
        for viewer in tuple(self._viewers):
            if viewer.watches(recorder_id):
                viewer.close()

    async def stop(self) -> None:
        """Stop listening and drop everyone."""
        for viewer in tuple(self._viewers):
            viewer.close()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        viewer = _Viewer(self._sources, self._clock, reader, writer)
        self._viewers.add(viewer)
        try:
            await viewer.run()
        finally:
            self._viewers.discard(viewer)
            viewer.close()


class _Viewer:
    """One RTSP connection."""

    def __init__(
        self,
        sources: dict[str, Source],
        clock: Clock,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._source: Source | None = None
        self._streams: dict[bool, tuple[int, RtpStream]] = {}
        self._stop_listening: Callable[[], None] | None = None
        self._seen_keyframe = False
        self._report_due_s = 0.0

    def watches(self, recorder_id: str) -> bool:
        return self._source is not None and self._source.device.id == recorder_id

    def close(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._writer.close()

    async def run(self) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                first = await self._reader.readexactly(1)
                if first == b"$":
                    head = await self._reader.readexactly(3)
                    await self._reader.readexactly(int.from_bytes(head[1:], "big"))
                    continue
                text = first + await self._reader.readuntil(b"\r\n\r\n")
                if not self._answer(text.decode(errors="replace")):
                    return

    def _answer(self, request: str) -> bool:
        """Answer one request; False ends the connection."""
        line, *rest = request.strip().split("\r\n")
        method, _, url = line.rsplit(" ", 1)[0].partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (h.partition(":") for h in rest)}
        path = url.split("://", 1)[-1].partition("/")[2].strip("/")
        source = self._sources.get(path.split("/")[0])
        cseq = headers.get("cseq", "0")
        if source is None:
            return self._reply(cseq, "404 Not Found")
        if any(source.device.has(do, source.elapsed_s()) for do in _UNREACHABLE):
            return False
        self._source = source
        if method == "DESCRIBE":
            headers_out = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
            return self._reply(cseq, "200 OK", headers_out, _sdp(source))
        if method == "SETUP":
            return self._setup(cseq, path, headers.get("transport", ""))
        if method == "PLAY":
            self._play(source)
            return self._reply(cseq, "200 OK", "Session: 1;timeout=60\r\n")
        if method in {"OPTIONS", "GET_PARAMETER"}:
            return self._reply(cseq, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n")
        self._reply(cseq, "200 OK" if method == "TEARDOWN" else "501 Not Implemented")
        return method != "TEARDOWN"

    def _setup(self, cseq: str, path: str, transport: str) -> bool:
        if "interleaved" not in transport or self._source is None:
            return self._reply(cseq, "461 Unsupported Transport")
        video = path.endswith("track=0")
        channel = int(transport.partition("interleaved=")[2].partition("-")[0].partition(";")[0])
        ssrc = zlib.crc32(f"{path} {self._clock.monotonic()}".encode())
        self._streams[video] = (channel, RtpStream(96, 90_000, ssrc) if video else RtpStream(8, AUDIO_RATE, ssrc))
        return self._reply(cseq, "200 OK", f"Transport: {transport};ssrc={ssrc:08X}\r\nSession: 1;timeout=60\r\n")

    def _play(self, source: Source) -> None:
        if self._stop_listening is None:
            self._stop_listening = source.listen(self._unit)

    def _reply(self, cseq: str, status: str, headers: str = "", body: str = "") -> bool:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}{length}\r\n{body}".encode())
        return True

    def _unit(self, unit: EncodedUnit) -> None:
        source = self._source
        if source is None or unit.video not in self._streams:
            return
        self._seen_keyframe = self._seen_keyframe or (unit.video and unit.keyframe)
        now_s = source.elapsed_s()
        quiet = any(source.device.has(do, now_s) for do in _SILENT)
        if quiet or not self._seen_keyframe or self._writer.transport.get_write_buffer_size() > OUT_LIMIT_BYTES:
            self._seen_keyframe = self._seen_keyframe and not quiet
            return
        channel, stream = self._streams[unit.video]
        packets = stream.h264(unit.data, unit.pts_s) if unit.video else stream.sound(unit.data, unit.pts_s)
        frames = [_frame(channel, packet) for packet in packets]
        if now_s >= self._report_due_s:
            self._report_due_s = now_s + REPORT_EVERY_S
            now = self._clock.now()
            frames.extend(_frame(c + 1, s.sender_report(now, now_s)) for c, s in self._streams.values())
        self._writer.write(b"".join(frames))


def _frame(channel: int, packet: bytes) -> bytes:
    """Interleave (RFC 2326 §10.12)."""
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet


def _sdp(source: Source) -> str:
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        f"s={source.device.id}",
        "t=0 0",
        "a=control:*",
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 packetization-mode=1",
        "a=control:track=0",
    ]
    if source.device.audio:
        lines += ["m=audio 0 RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=control:track=1"]
    return "\r\n".join(lines) + "\r\n"
