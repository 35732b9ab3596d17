"""A WHIP client made of aiortc: sends coded pictures and sound that were made before, over a path that may lose."""

import asyncio
import random
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import aioice.ice
import av
import httpx
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.bitstream import BitStreamFilterContext

TOKEN = {"Authorization": "Bearer t0ken"}


def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets aiortc's own side of a test use 127.0.0.1, which it otherwise leaves out."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


class Coded:
    """The coded pictures (Annex B, parameter sets at keyframes) and sound packets of a file."""

    def __init__(self, path: Path, *, video_codec: str = "h264") -> None:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            to_annexb = BitStreamFilterContext(f"{video_codec}_mp4toannexb", video)
            self.pictures: list[bytes] = []
            self.sounds: list[bytes] = []
            for packet in container.demux():
                if packet.stream is video:
                    self.pictures += [bytes(out) for out in to_annexb.filter(packet) if out.size]
                elif packet.size and packet.stream.codec_context.name in {"opus", "libopus"}:
                    self.sounds.append(bytes(packet))


class CodedTrack(MediaStreamTrack):
    """Sends packets at their pace, over and over, until stopped."""

    def __init__(self, kind: str, units: list[bytes], per_s: float, clock_rate: int, step: int) -> None:
        super().__init__()
        self.kind = kind
        self.sent: list[bytes] = []
        self._units = units
        self._interval_s = 1 / per_s
        self._time_base = Fraction(1, clock_rate)
        self._step = step
        self._start_s: float | None = None
        self.limit: int | None = None
        self.done = asyncio.Event()

    async def recv(self) -> "av.Packet[Any]":
        if self.readyState != "live":
            raise MediaStreamError
        number = len(self.sent)
        if self.limit is not None and number >= self.limit:
            self.done.set()
            await asyncio.Event().wait()
        if self._start_s is None:
            self._start_s = time.monotonic()
        await asyncio.sleep(max(0.0, self._start_s + number * self._interval_s - time.monotonic()))
        data = self._units[number % len(self._units)]
        packet = av.Packet(data)
        packet.pts = number * self._step
        packet.time_base = self._time_base
        self.sent.append(data)
        return packet


class LossyPath:
    """A UDP relay that loses, doubles and delays SRTP (both ways, seeded), and may go dead."""

    def __init__(self, target: tuple[str, int], *, loss: float = 0.0, duplicate: float = 0.0, seed: int = 1) -> None:
        self.loss = loss
        self.duplicate = duplicate
        self.dead = False
        self.deaf = False  # nothing of the server's media path comes back
        self.lost = 0
        self.passed = 0
        self.capture: list[bytes] = []
        self._target = target
        self._random = random.Random(seed)
        self._client: tuple[str, int] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        path = self

        class Near(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                path._client = addr
                path._pass(data, path._far.sendto, None)

        class Far(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                if path._client is not None:
                    path._pass(data, path._near.sendto, path._client)

        self._near, _ = await loop.create_datagram_endpoint(Near, local_addr=("127.0.0.1", 0))
        self._far, _ = await loop.create_datagram_endpoint(Far, remote_addr=self._target)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._near.close()
        self._far.close()

    @property
    def port(self) -> int:
        port: int = self._near.get_extra_info("sockname")[1]
        return port

    def inject(self, data: bytes) -> None:
        """Sends a datagram to the server as if it were the client's."""
        self._far.sendto(data)

    def _pass(self, data: bytes, send: Callable[..., None], addr: tuple[str, int] | None) -> None:
        media = 127 < data[0] < 192
        if self.dead or (self.deaf and media and addr is not None):
            return
        if media and len(self.capture) < 2000 and addr is None:
            self.capture.append(data)
        if media and self._random.random() < self.loss:
            self.lost += 1
            return
        self.passed += media
        send(data, addr)
        if media and self._random.random() < self.duplicate:
            send(data, addr)


class WhipClient:
    """Publishes a picture and a sound track, or the picture alone."""

    def __init__(self, http: httpx.AsyncClient, coded: Coded, recorder_id: str = "cam-1", *, fps: float = 50) -> None:
        self.http = http
        self.recorder_id = recorder_id
        self.pc = RTCPeerConnection()
        self.video = CodedTrack("video", coded.pictures, fps, 90_000, int(90_000 / 25))
        self.audio = CodedTrack("audio", coded.sounds, fps, 48_000, 960) if coded.sounds else None
        self.location = ""
        self.path: LossyPath | None = None
        self.decoy = ""  # stands in the offer for our candidates when a path is between; some servers want one
        self.response: httpx.Response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pc.close()
        if self.path is not None:
            await self.path.__aexit__()

    async def offer(self) -> str:
        """Makes the offer; H.264 alone for the picture."""
        sender = self.pc.addTransceiver(self.video, "sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        sender.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
        if self.audio is not None:
            self.pc.addTransceiver(self.audio, "sendonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def publish(self, **path: float) -> Self:
        """Offers, posts, connects; over a `LossyPath` with these faults if any is given."""
        offer = await self.offer()
        headers = {**TOKEN, "Content-Type": "application/sdp"}
        if path:
            offer = re.sub(r"a=candidate:.*\r\n", self.decoy, offer)
        self.response = await self.http.post(f"/whip/{self.recorder_id}", content=offer, headers=headers)
        assert self.response.status_code == 201, self.response.text
        self.location = self.response.headers["location"]
        answer = self.response.text
        if path:
            port = int(re.findall(r"candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+)", answer)[0])
            self.path = LossyPath(("127.0.0.1", port), **path)  # type: ignore[arg-type]
            await self.path.__aenter__()
            answer = answer.replace(f"127.0.0.1 {port}", f"127.0.0.1 {self.path.port}")
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: self.pc.connectionState == "connected")
        return self

    async def delete(self) -> httpx.Response:
        return await self.http.delete(self.location, headers=TOKEN)


async def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    """Polls until the condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the conditions are anything at all
            await asyncio.sleep(0.01)


def nals_of_annexb(data: bytes) -> list[bytes]:
    """The NAL units between start codes."""
    return [nal for nal in re.split(rb"\x00\x00\x00?\x01", data) if nal]


def nals_of_lengths(data: bytes) -> list[bytes]:
    """The NAL units behind 4-byte lengths."""
    nals = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        nals.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == len(data)
    return nals
