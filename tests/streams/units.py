"""Access units for tests: taken from sample recordings by PyAV, or made up."""

import io
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from domain.clock import Instant
from domain.media import AccessUnit, Codec, TrackParams
from streams.ingest.mp4.boxes import top_level
from streams.ingest.muxer import CutFragment

START = Instant.parse("2026-03-02T09:00:10.000+08:00")

_CODECS = {
    "h264": Codec.H264,
    "hevc": Codec.H265,
    "aac": Codec.AAC,
    "opus": Codec.OPUS,
    "pcm_alaw": Codec.PCMA,
    "pcm_mulaw": Codec.PCMU,
}


def dops(opus_head: bytes) -> bytes:
    """`OpusSpecificBox` from the header of Ogg and Matroska (RFC 7845, 5.1): the same fields, big-endian."""
    channels, pre_skip, rate, gain, family = struct.unpack_from("<BHIhB", opus_head, 9)
    return struct.pack(">BBHIhB", 0, channels, pre_skip, rate, gain, family)


def params_of(stream: av.stream.Stream) -> TrackParams:
    codec = _CODECS[stream.codec_context.name.removeprefix("lib")]
    extradata = stream.codec_context.extradata or b""
    if isinstance(stream, av.VideoStream):
        return TrackParams(codec, 90_000, extradata, stream.width, stream.height)
    assert isinstance(stream, av.AudioStream)
    if codec is Codec.OPUS:
        extradata = dops(extradata)
    return TrackParams(codec, stream.rate, extradata, channels=stream.channels)


def read_units(path: Path, start: Instant = START, delay_ms: int = 50) -> list[AccessUnit]:
    """All packets of a recording in the order of decoding time, as if captured from `start` on."""
    timed: list[tuple[Fraction, AccessUnit]] = []
    with av.open(str(path), "r") as container:
        params = {stream.index: params_of(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            track = packet.stream.index
            seconds = packet.pts * packet.time_base
            captured_at = start.plus(round(seconds * 1000))
            order = packet.dts * packet.time_base
            unit = AccessUnit(
                track=track,
                params=params[track],
                pts=round(seconds * params[track].clock_rate),
                data=bytes(packet),
                keyframe=packet.is_keyframe or not params[track].codec.is_video,
                captured_at=captured_at,
                arrived_at=start.plus(round(max(order, seconds) * 1000) + delay_ms),
            )
            timed.append((order, unit))
    timed.sort(key=lambda pair: pair[0])
    return [unit for _, unit in timed]


def segments(fragments: Iterable[CutFragment]) -> list[bytes]:
    """What the store makes of fragments: the init segment of the first, then the movie fragments of all."""
    gathered: list[bytes] = []
    for fragment in fragments:
        boxes = list(top_level(fragment.data))
        assert [box.kind for box in boxes] == [b"ftyp", b"moov", b"moof", b"mdat"]
        if fragment.starts_segment:
            gathered.append(fragment.data)
        else:
            assert gathered[-1][: boxes[1].end] == fragment.data[: boxes[1].end]
            gathered[-1] += fragment.data[boxes[1].end :]
    return gathered


class Packet(NamedTuple):
    """A packet as another program sees it; times in ticks of `time_base`."""

    data: bytes
    pts: int
    dts: int
    time_base: Fraction
    is_keyframe: bool


def packets(data: bytes) -> dict[int, list[Packet]]:
    """Packets of each stream, by FFmpeg's demuxer."""
    with av.open(io.BytesIO(data), "r") as container:
        found: dict[int, list[Packet]] = {stream.index: [] for stream in container.streams}
        for packet in container.demux():
            if packet.size:
                assert packet.pts is not None
                assert packet.dts is not None
                assert packet.time_base is not None
                seen = Packet(bytes(packet), packet.pts, packet.dts, packet.time_base, packet.is_keyframe)
                found[packet.stream.index].append(seen)
    return found


VIDEO = TrackParams(Codec.H264, 90_000, bytes.fromhex("0142c01effe100096742c01e95a0280bfe0100"), 640, 360)
SOUND = TrackParams(Codec.AAC, 48_000, bytes.fromhex("1188"), channels=1)
G711 = TrackParams(Codec.PCMA, 8_000, channels=1)


def picture(  # noqa: PLR0917
    index: int, at_ms: int, keyframe: bool = False, size: int = 400, track: int = 0, params: TrackParams = VIDEO
) -> AccessUnit:
    """A made-up picture, captured so many milliseconds after `START`; its bytes are its own."""
    data = (struct.pack(">II", track, index) * (size // 8 + 1))[:size]
    return AccessUnit(track, params, at_ms * 90, data, keyframe, START.plus(at_ms), START.plus(at_ms + 60))


def sound(index: int, at_ms: int, late_ms: int = 60, track: int = 1, params: TrackParams = G711) -> AccessUnit:
    """A made-up sound frame."""
    data = struct.pack(">II", track, index) * 20
    pts = at_ms * params.clock_rate // 1000
    return AccessUnit(track, params, pts, data, True, START.plus(at_ms), START.plus(at_ms + late_ms))


def by_arrival(units: Sequence[AccessUnit]) -> list[AccessUnit]:
    return sorted(units, key=lambda unit: unit.arrived_at)
