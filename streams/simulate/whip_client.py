"""A WHIP publisher (RFC 9725) that sends what a source has already encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import httpx
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from domain.errors import Unavailable
from streams.simulate.scene import EncodedUnit
from streams.simulate.source import Source

QUEUE_UNITS = 100
"""Units waiting for the sender; past that the oldest go, and pictures wait for the next keyframe."""

CONNECT_TIMEOUT_S = 10.0

ASK_EVERY_S = 0.5
"""How often it asks whether its session is still there: without, a server that died is noticed after half a minute."""
_NOTHING_NEW = b"a=end-of-candidates\r\n"


class _Track(MediaStreamTrack):
    """One outgoing track of encoded packets."""

    def __init__(self, kind: str, clock_rate: int) -> None:
        super().__init__()
        self.kind = kind
        self._time_base = Fraction(1, clock_rate)
        self._queue: asyncio.Queue[EncodedUnit | None] = asyncio.Queue(QUEUE_UNITS)
        self._needs_keyframe = True

    def put(self, unit: EncodedUnit) -> None:
        if self._needs_keyframe and not unit.keyframe:
            return
        self._needs_keyframe = False
        if self._queue.full():
            self._needs_keyframe = True
            return
        self._queue.put_nowait(unit)

    async def recv(self) -> Any:
        unit = await self._queue.get()
        if unit is None:
            raise MediaStreamError
        packet = av.Packet(unit.data)
        packet.pts = round(unit.pts_s / self._time_base)
        packet.time_base = self._time_base
        return packet


class WhipClient:
    """One publication. `publish` connects; `lost` is set when it is over, for whatever reason."""

    def __init__(self, source: Source, endpoint: str, token: str, http: httpx.AsyncClient) -> None:
        self._source = source
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = http
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._video, self._sound = _Track("video", 90_000), _Track("audio", 48_000)
        self._stop_listening: Callable[[], None] | None = None
        self._location = ""
        self._asking: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        self.sending = True

    async def publish(self) -> None:
        """Offer, post, and start sending at the next keyframe once connected.

        Raises:
            Unavailable: The endpoint refused or did not answer, or no connection came about.
        """
        self._peer.addTransceiver(self._video, "sendonly").setCodecPreferences(_codecs("video", "video/H264"))
        if self._source.device.audio:
            self._peer.addTransceiver(self._sound, "sendonly").setCodecPreferences(_codecs("audio", "audio/opus"))
        connected = asyncio.Event()
        self._peer.on("connectionstatechange", lambda: self._state_changed(connected))
        await self._peer.setLocalDescription(await self._peer.createOffer())
        answer = await self._post(self._peer.localDescription.sdp)
        await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            await asyncio.wait_for(connected.wait(), CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            msg = f"{self._endpoint}: no connection within {CONNECT_TIMEOUT_S:g} s"
            raise Unavailable(msg) from error
        self._stop_listening = self._source.listen(self._unit)
        self._source.want_keyframe()
        self._asking = asyncio.create_task(self._ask_for_ever(), name="whip asks")

    async def end(self, *, politely: bool = True) -> None:
        """Stop; politely is with DELETE, otherwise as a device that fell off the network."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        if self._asking is not None:
            self._asking.cancel()
        if politely and self._location:
            await self._http.delete(self._location, headers=self._headers)
        self.lost.set()
        await self._peer.close()

    async def _ask_for_ever(self) -> None:
        headers = {**self._headers, "Content-Type": "application/trickle-ice-sdpfrag"}
        while not self.lost.is_set():
            await asyncio.sleep(ASK_EVERY_S)
            if not self.sending:
                continue
            try:
                response = await self._http.patch(self._location, content=_NOTHING_NEW, headers=headers)
            except httpx.HTTPError:
                self.lost.set()
            else:
                if response.status_code == 404:
                    self.lost.set()

    def _state_changed(self, connected: asyncio.Event) -> None:
        if self._peer.connectionState == "connected":
            connected.set()
        elif self._peer.connectionState in {"failed", "closed"}:
            self.lost.set()

    async def _post(self, offer: str) -> str:
        headers = {**self._headers, "Content-Type": "application/sdp"}
        try:
            response = await self._http.post(self._endpoint, content=offer, headers=headers)
        except httpx.HTTPError as error:
            msg = f"{self._endpoint}: {error}"
            raise Unavailable(msg) from error
        if response.status_code != 201:
            msg = f"{self._endpoint}: {response.status_code} {response.text[:200]}"
            raise Unavailable(msg)
        self._location = str(response.url.join(response.headers["Location"]))
        return response.text

    def _unit(self, unit: EncodedUnit) -> None:
        if self.sending:
            (self._video if unit.video else self._sound).put(unit)


def _codecs(kind: str, mime_type: str) -> list[Any]:
    return [codec for codec in RTCRtpSender.getCapabilities(kind).codecs if codec.mimeType == mime_type]
