"""Cameras for the benchmarks: one process that replays a recording over RTSP, packetised once beforehand.

    python -m benchmarks.cameras FILE PORT

Every path is a camera of its own with its own phase. It sends each picture and each sound frame when it is due, in one
write each, as a live camera does, and sender reports every 5 s. It does nothing else, so that 20 cameras leave the
machine to whoever is measured; and whoever is measured gets the very same bytes.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import uvloop

PAYLOAD_BYTES = 1400
REPORT_EVERY_S = 5.0
_NTP_EPOCH_S = 2_208_988_800
_FRAME = struct.Struct("!BBHBBHII")
_NUMBERS = struct.Struct("!HI")
_NUMBERS_AT = 6  # behind the interleaved header and two octets of RTP
_VIDEO_RATE = 90_000


class Item(NamedTuple):
    """One picture or sound frame, as interleaved RTP.

    Attributes:
        at_s: When it is due, from the start of the recording.
        track: 0 picture, 1 sound.
        timestamp: RTP ticks from the start.
        keyframe: A viewer may begin here.
        data: Its packets, numbered from 0 and without their times.
        packets: Where each begins in it.
    """

    at_s: float
    track: int
    timestamp: int
    keyframe: bool
    data: bytes
    packets: list[int]


class Recording:
    """A file taken apart: H.264 and AAC.

    Attributes:
        items: In the order in which they are due.
        seconds: How long it is; it begins again then.
        before: Packets of each track before each item, for their numbers.
        packets: Packets of each track in all.
    """

    def __init__(self, path: Path) -> None:
        self.items: list[Item] = []
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            sound = container.streams.audio[0] if container.streams.audio else None
            extradata = bytes(video.codec_context.extradata or b"")
            self.sets = _parameter_sets(extradata)
            self.sound_rate = sound.codec_context.sample_rate if sound else 0
            self.sound_config = bytes(sound.codec_context.extradata or b"") if sound else b""
            self.seconds = float((video.duration or 0) * (video.time_base or 0))
            for packet in container.demux():
                if packet.pts is None or packet.dts is None:
                    continue
                self._take(packet, is_video=packet.stream is video)
        self.items.sort(key=lambda item: item.at_s)
        self.items = [item for item in self.items if item.at_s < self.seconds]
        self.before: list[int] = []
        self.packets = [0, 0]
        for item in self.items:
            self.before.append(self.packets[item.track])
            self.packets[item.track] += len(item.packets)

    def sdp(self) -> str:
        sets = ",".join(base64.b64encode(one).decode() for one in self.sets)
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0", "a=control:*", "m=video 0 RTP/AVP 96"]
        lines += ["a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}"]
        lines += ["a=control:track=0"]
        if self.sound_rate:
            mode = f"streamtype=5;mode=AAC-hbr;config={self.sound_config.hex()}"
            lines += ["m=audio 0 RTP/AVP 97", f"a=rtpmap:97 mpeg4-generic/{self.sound_rate}/1"]
            lines += [f"a=fmtp:97 {mode};sizelength=13;indexlength=3;indexdeltalength=3", "a=control:track=1"]
        return "\r\n".join(lines) + "\r\n"

    def _take(self, packet: Any, *, is_video: bool) -> None:
        rate = _VIDEO_RATE if is_video else self.sound_rate
        timestamp = round(packet.pts * packet.time_base * rate)
        data = bytes(packet)
        if is_video:
            nals = [*(self.sets if packet.is_keyframe else []), *_nals(data)]
            payloads = [payload for nal in nals for payload in _h264(nal)]
        else:
            payloads = [struct.pack("!HH", 16, len(data) << 3) + data]
        blob, starts = bytearray(), []
        for place, payload in enumerate(payloads):
            starts.append(len(blob))
            marker = 0x80 if place == len(payloads) - 1 else 0
            kind = 96 if is_video else 97
            blob += _FRAME.pack(0x24, 0 if is_video else 2, 12 + len(payload), 0x80, kind | marker, 0, 0, 0) + payload
        track, at_s = (0 if is_video else 1), float(packet.dts * packet.time_base)
        self.items.append(Item(at_s, track, timestamp, is_video and packet.is_keyframe, bytes(blob), starts))


def _parameter_sets(avcc: bytes) -> list[bytes]:
    """SPS and PPS of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15)."""
    sets, at = [], 5
    for mask in (0x1F, 0xFF):
        count = avcc[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2], "big")
            sets.append(avcc[at + 2 : at + 2 + size])
            at += 2 + size
    return sets


def _nals(data: bytes) -> list[bytes]:
    nals, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        nals.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return nals


def _h264(nal: bytes) -> list[bytes]:
    """Single NAL unit packets and FU-A (RFC 6184, sections 5.6 and 5.8)."""
    if len(nal) <= PAYLOAD_BYTES:
        return [nal]
    indicator, kind, body, step = nal[0] & 0xE0 | 28, nal[0] & 0x1F, nal[1:], PAYLOAD_BYTES - 2
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    last = len(pieces) - 1
    return [
        bytes((indicator, kind | (0x80 if n == 0 else 0) | (0x40 if n == last else 0))) + piece
        for n, piece in enumerate(pieces)
    ]


class Camera(asyncio.Protocol):
    """One viewer of one camera."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = b""
        self._index = 0
        self._round = 0
        self._zero_s = 0.0
        self._report_s = 0.0
        self._ssrc = (0x1111, 0x2222)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._received:
            if self._received[0] == 0x24:
                size = 4 + int.from_bytes(self._received[2:4], "big")
                if len(self._received) < size:
                    return
                self._received = self._received[size:]
                continue
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            self._received = rest
            self._answer(head.decode())

    def _answer(self, request: str) -> None:
        first, *lines = request.split("\r\n")
        method, url = first.split(" ")[:2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        more, body = "Session: 1;timeout=60\r\n", ""
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = self._recording.sdp()
            more = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            channel = 2 * int(url.endswith("track=1"))
            more += f"Transport: RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}\r\n"
        self._write(f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', '0')}\r\n{more}\r\n{body}".encode())
        if method == "PLAY":
            self._play(zlib.crc32(url.rstrip("/").encode()) / 2**32)
        elif method == "TEARDOWN" and self._transport is not None:
            self._transport.close()

    def _play(self, phase: float) -> None:
        """Begin at a keyframe, which one depends on the camera."""
        items = self._recording.items
        index = int(phase * len(items))
        self._index = next((n for n in range(index, len(items)) if items[n].keyframe), 0)
        self._zero_s = asyncio.get_running_loop().time() - items[self._index].at_s
        self._send_due()

    def _send_due(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        recording = self._recording
        while True:
            item = recording.items[self._index]
            due_s = self._zero_s + item.at_s + self._round * recording.seconds
            if due_s > now_s:
                break
            self._send(item)
            self._index += 1
            if self._index == len(recording.items):
                self._index, self._round = 0, self._round + 1
        if now_s >= self._report_s:
            self._report_s = now_s + REPORT_EVERY_S
            self._report(now_s)
        if self._transport is not None:
            self._timer = loop.call_at(due_s, self._send_due)

    def _send(self, item: Item) -> None:
        recording, track = self._recording, item.track
        number = recording.before[self._index] + self._round * recording.packets[track]
        timestamp = self._timestamp(track, item.timestamp)
        data = bytearray(item.data)
        for start in item.packets:
            _NUMBERS.pack_into(data, start + _NUMBERS_AT, number & 0xFFFF, timestamp)
            data[start + 15] = track + 1  # the last octet of the SSRC
            number += 1
        self._write(bytes(data))

    def _timestamp(self, track: int, ticks: int) -> int:
        rate = _VIDEO_RATE if track == 0 else self._recording.sound_rate
        return (ticks + round(self._round * self._recording.seconds * rate)) & 0xFFFFFFFF

    def _report(self, now_s: float) -> None:
        """Sender reports (RFC 3550, section 6.4.1) of both tracks."""
        media_s = now_s - self._zero_s
        wall_s = time.time() + _NTP_EPOCH_S
        for track, rate in ((0, _VIDEO_RATE), (1, self._recording.sound_rate)):
            ticks = round(media_s * rate) & 0xFFFFFFFF
            times = (int(wall_s) & 0xFFFFFFFF, int(wall_s % 1 * 2**32), ticks)
            report = struct.pack("!BBHIIIIII", 0x80, 200, 6, track + 1, *times, 0, 0)
            if rate:
                self._write(struct.pack("!BBH", 0x24, 2 * track + 1, len(report)) + report)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if self._transport.get_write_buffer_size() > 16_000_000:
                self._transport.abort()  # a viewer that cannot keep up; the measurement would be worth nothing
                return
            self._transport.write(data)


async def serve(path: Path, port: int) -> None:
    """Serve until killed."""
    recording = Recording(path)
    server = await asyncio.get_running_loop().create_server(lambda: Camera(recording), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
