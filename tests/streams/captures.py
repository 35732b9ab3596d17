"""Captured RTP of GStreamer and FFmpeg: packets behind 2-byte lengths, and what the source held, unit by unit.

Neither sent the last frame of its AAC; it is left out of the list here.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.clock import Instant
from domain.media import AccessUnit, Codec
from streams.ingest.rtp.formats import MediaFormat
from streams.ingest.rtp.track import TrackReceiver

_DATA = Path(__file__).with_name("data") / "rtp"
_INDEX: dict[str, Any] = json.loads((_DATA / "captures.json").read_text())
NAMES = sorted(_INDEX)
VIDEO = [name for name in NAMES if _INDEX[name]["codec"] in {"h264", "h265"}]
START = Instant.parse("2026-07-01T09:00:00+08:00")
START_S = 1000.0


@dataclass(frozen=True)
class Capture:
    """One capture.

    Attributes:
        media: Its format.
        packets: RTP packets in the order sent.
        units: First 16 hex digits of SHA-256 of each unit of the source: slices alone for video.
        sha256: Of the whole sound, where the sender cuts it anew.
    """

    media: MediaFormat
    packets: list[bytes]
    units: list[str]
    sha256: str


def load(name: str) -> Capture:
    """Read a capture."""
    about = _INDEX[name]
    media = MediaFormat(
        about["payload_type"], Codec(about["codec"]), about["clock_rate"], about["channels"], about["fmtp"]
    )
    data = (_DATA / f"{name}.rtp").read_bytes()
    packets = []
    while data:
        size = int.from_bytes(data[:2], "big")
        packets.append(data[2 : 2 + size])
        data = data[2 + size :]
    return Capture(media, packets, about["units"], about.get("sha256", ""))


def feed(track: TrackReceiver, packets: Iterable[bytes], every_s: float = 0.005) -> list[AccessUnit]:
    """Push packets that arrive evenly, and flush."""
    units: list[AccessUnit] = []
    now_s = START_S
    for packet in packets:
        units += track.push(packet, now_s, START.plus(round(1000 * (now_s - START_S))))
        now_s += every_s
    return units + list(track.flush())


def nal_units(data: bytes) -> list[bytes]:
    """Split at the 4-byte lengths."""
    nals, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        nals.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == len(data)
    return nals


def slices(unit: AccessUnit) -> list[bytes]:
    """The picture data of a unit."""
    if unit.params.codec == Codec.H264:
        return [nal for nal in nal_units(unit.data) if nal[0] & 31 in {1, 5}]
    return [nal for nal in nal_units(unit.data) if (nal[0] >> 1) & 63 < 32]


def digest(unit: AccessUnit) -> str:
    """As in `Capture.units`."""
    data = b"".join(slices(unit)) if unit.params.codec.is_video else unit.data
    return hashlib.sha256(data).hexdigest()[:16]
