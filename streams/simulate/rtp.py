"""Packing access units into RTP (RFC 3550, RFC 6184 non-interleaved, RFC 3551), as a camera would."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from domain.clock import Instant

PAYLOAD_BYTES = 1400
"""Largest RTP payload, so that a packet fits an Ethernet frame."""

_NTP_EPOCH_S = 2_208_988_800


def nal_units(annexb: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B access unit, without start codes."""
    start = annexb.find(b"\x00\x00\x01")
    while start >= 0:
        begin = start + 3
        start = annexb.find(b"\x00\x00\x01", begin)
        end = len(annexb) if start < 0 else start
        unit = annexb[begin:end]
        yield unit.rstrip(b"\x00") if start >= 0 else unit


class RtpStream:
    """One outgoing RTP stream: numbering, time stamps, sender reports."""

    def __init__(self, payload_type: int, clock_rate: int, ssrc: int) -> None:
        self.clock_rate = clock_rate
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = ssrc & 0xFFFF
        self._offset = ssrc * 7919 & 0xFFFFFFFF
        self._packets = 0
        self._octets = 0

    def h264(self, annexb: bytes, pts_s: float) -> list[bytes]:
        """Pack one access unit: single NAL unit packets, or FU-A where one is too large (RFC 6184 §5.6, §5.8)."""
        payloads: list[bytes] = []
        for unit in nal_units(annexb):
            payloads.extend([unit] if len(unit) <= PAYLOAD_BYTES else _fu_a(unit))
        return [self._packet(p, pts_s, marker=p is payloads[-1]) for p in payloads]

    def sound(self, frame: bytes, pts_s: float) -> list[bytes]:
        """Pack one sound frame, one packet."""
        return [self._packet(frame, pts_s, marker=False)]

    def sender_report(self, now: Instant, pts_s: float) -> bytes:
        """Return an RTCP sender report that ties this wall time to this media time (RFC 3550 §6.4.1)."""
        seconds, milliseconds = divmod(int(now), 1000)
        fraction = (milliseconds << 32) // 1000
        return struct.pack(
            "!BBHIIIIII",
            0x80,
            200,
            6,
            self._ssrc,
            (seconds + _NTP_EPOCH_S) & 0xFFFFFFFF,
            fraction,
            self._timestamp(pts_s),
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )

    def _timestamp(self, pts_s: float) -> int:
        return (self._offset + round(pts_s * self.clock_rate)) & 0xFFFFFFFF

    def _packet(self, payload: bytes, pts_s: float, *, marker: bool) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        second = self._payload_type | (0x80 if marker else 0)
        return struct.pack("!BBHII", 0x80, second, self._sequence, self._timestamp(pts_s), self._ssrc) + payload


def _fu_a(unit: bytes) -> list[bytes]:
    indicator, kind = unit[0] & 0xE0 | 28, unit[0] & 0x1F
    body = unit[1:]
    pieces = [body[i : i + PAYLOAD_BYTES - 2] for i in range(0, len(body), PAYLOAD_BYTES - 2)]
    last = len(pieces) - 1
    return [
        bytes((indicator, kind | (0x80 if i == 0 else 0) | (0x40 if i == last else 0))) + piece
        for i, piece in enumerate(pieces)
    ]
