"""RTP packets (RFC 3550, section 5.1): parsed in place, the payload given as bounds so that nothing is copied."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from domain.errors import InvalidMedia

Buffer = bytes | bytearray | memoryview

FIXED_HEADER_BYTES: Final = 12
_HEADER: Final = struct.Struct("!BBHII")
_PLAIN: Final = 0x80
"""First octet of a version 2 packet without padding, extension and contributing sources: nearly all of them."""


class RtpHeader(NamedTuple):
    """What a packet says of itself.

    Attributes:
        payload_type: 0 to 127.
        marker: Marker bit.
        sequence: 16-bit sequence number.
        timestamp: 32-bit RTP timestamp.
        ssrc: 32-bit synchronisation source.
        payload_start: Offset of the payload's first byte in the buffer parsed.
        payload_end: Offset behind its last byte, padding taken off.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload_start: int
    payload_end: int


def parse_header(data: Buffer, start: int = 0, end: int | None = None) -> RtpHeader:
    """Read the header of the packet that stands in `data[start:end]`.

    Raises:
        InvalidMedia: Too short, not version 2, or an extension or padding that reaches beyond the packet.
    """
    if end is None:
        end = len(data)
    if end - start < FIXED_HEADER_BYTES:
        msg = f"RTP packet of {end - start} bytes"
        raise InvalidMedia(msg, "rtp")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data, start)
    payload_start = start + FIXED_HEADER_BYTES
    if first != _PLAIN:
        payload_start, end = payload_bounds(data, first, payload_start, end)
    return RtpHeader(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, payload_start, end)


def payload_bounds(data: Buffer, first: int, start: int, end: int) -> tuple[int, int]:
    """Take contributing sources, extension and padding off a packet whose fixed header ends at `start`.

    Args:
        data: Buffer with the packet in it.
        first: Its first octet.
        start: Behind the fixed header.
        end: Behind the packet.

    Returns:
        First byte of the payload, and behind its last.

    Raises:
        InvalidMedia: Not version 2, or one of them reaches beyond the packet.
    """
    if first >> 6 != 2:
        msg = f"RTP version {first >> 6}"
        raise InvalidMedia(msg, "rtp.version")
    start += 4 * (first & 0x0F)
    if first & 0x10:
        if start + 4 > end:
            msg = "RTP header extension beyond the packet"
            raise InvalidMedia(msg, "rtp.extension")
        start += 4 + 4 * ((data[start + 2] << 8) | data[start + 3])
    if start > end:
        msg = "RTP header beyond the packet"
        raise InvalidMedia(msg, "rtp.header")
    if first & 0x20:
        padding = data[end - 1] if end > start else 0
        if not 0 < padding <= end - start:
            msg = f"RTP padding of {padding} bytes in a payload of {end - start}"
            raise InvalidMedia(msg, "rtp.padding")
        end -= padding
    return start, end


def is_rtcp(data: Buffer) -> bool:
    """Tell RTCP from RTP where both come over one port (RFC 5761, section 4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223
