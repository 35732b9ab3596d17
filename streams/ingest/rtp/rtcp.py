"""RTCP (RFC 3550, section 6; RFC 4585 NACK and PLI; REMB): what we read and what we send, as bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from domain.errors import InvalidMedia
from streams.ingest.rtp.packet import Buffer

_SR: Final = 200
_RR: Final = 201
_SDES: Final = 202
_BYE: Final = 203
_RTPFB: Final = 205
_PSFB: Final = 206
_NTP_EPOCH_S: Final = 2_208_988_800
_MAX_PACKETS: Final = 64


class SenderReport(msgspec.Struct, frozen=True):
    """The sender's clock at one point of its RTP time.

    Attributes:
        ssrc: Whose.
        ntp: 64-bit NTP timestamp: seconds since 1900 in 32.32 fixed point; 0 where the sender has no clock.
        rtp_timestamp: RTP timestamp of the same moment.
        packets: Packets it has sent.
        octets: Payload octets it has sent.
    """

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int

    @property
    def unix_s(self) -> float:
        """The NTP timestamp as seconds since 1970, by the sender's own clock."""
        return self.ntp / 4_294_967_296 - _NTP_EPOCH_S


class Bye(msgspec.Struct, frozen=True):
    """Sources that leave."""

    ssrcs: tuple[int, ...]


class ReportBlock(msgspec.Struct, frozen=True):
    """How a source is received (RFC 3550, 6.4.1).

    Attributes:
        ssrc: Whose packets.
        fraction_lost: Lost since the last report, in 1/256.
        total_lost: Lost since the beginning, 24 bits signed.
        highest_sequence: Extended highest sequence number.
        jitter: Interarrival jitter in timestamp units.
        last_sr: Middle 32 bits of the last sender report's NTP timestamp, 0 if none.
        delay_since_sr: Since that report, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    total_lost: int
    highest_sequence: int
    jitter: int
    last_sr: int
    delay_since_sr: int


def parse_compound(data: Buffer) -> list[SenderReport | Bye]:
    """Read the sender reports and goodbyes of a compound packet; everything else in it is passed over.

    Raises:
        InvalidMedia: Not version 2, or a part that reaches beyond the packet.
    """
    found: list[SenderReport | Bye] = []
    at = 0
    for _ in range(_MAX_PACKETS):
        if len(data) - at < 4:
            break
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            msg = f"RTCP part of version {first >> 6} and {4 + 4 * words} bytes in {len(data) - at}"
            raise InvalidMedia(msg, "rtcp")
        if kind == _SR:
            found.append(_sender_report(data, at + 4, end))
        elif kind == _BYE:
            count = min(first & 31, words)
            found.append(Bye(struct.unpack_from(f"!{count}I", data, at + 4)))
        at = end
    return found


def _sender_report(data: Buffer, at: int, end: int) -> SenderReport:
    if end - at < 24:
        msg = f"RTCP sender report of {end - at} bytes"
        raise InvalidMedia(msg, "rtcp.sr")
    return SenderReport(*struct.unpack_from("!IQIII", data, at))


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    """Build a receiver report; goes first in a compound packet."""
    body = struct.pack("!I", ssrc)
    for block in blocks[:31]:
        body += struct.pack("!IB", block.ssrc, max(0, min(block.fraction_lost, 255)))
        body += max(-0x800000, min(block.total_lost, 0x7FFFFF)).to_bytes(3, "big", signed=True)
        body += struct.pack(
            "!IIII",
            block.highest_sequence & 0xFFFFFFFF,
            min(block.jitter, 0xFFFFFFFF),
            block.last_sr,
            block.delay_since_sr & 0xFFFFFFFF,
        )
    return _packet(_RR, min(len(blocks), 31), body)


def source_description(ssrc: int, cname: str) -> bytes:
    """Build an SDES packet with a CNAME, which every compound packet must carry."""
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\x00"
    return _packet(_SDES, 1, chunk + bytes(-len(chunk) % 4))


def goodbye(ssrc: int) -> bytes:
    """Build a BYE."""
    return _packet(_BYE, 1, struct.pack("!I", ssrc))


def nack(ssrc: int, media_ssrc: int, sequences: Sequence[int]) -> bytes:
    """Build a generic NACK (RFC 4585, 6.2.1).

    Args:
        ssrc: Ours.
        media_ssrc: The sender's.
        sequences: 16-bit sequence numbers, in sending order.
    """
    entries: list[list[int]] = []
    for sequence in sequences:
        behind = (sequence - entries[-1][0] - 1) & 0xFFFF if entries else 0xFFFF
        if behind < 16:
            entries[-1][1] |= 1 << behind
        else:
            entries.append([sequence, 0])
    body = struct.pack("!II", ssrc, media_ssrc) + b"".join(struct.pack("!HH", *entry) for entry in entries)
    return _packet(_RTPFB, 1, body)


def picture_loss(ssrc: int, media_ssrc: int) -> bytes:
    """Build a picture loss indication, the request for a keyframe (RFC 4585, 6.3.1)."""
    return _packet(_PSFB, 1, struct.pack("!II", ssrc, media_ssrc))


def max_bitrate(ssrc: int, media_ssrcs: Sequence[int], bits_per_s: int) -> bytes:
    """Build a REMB: the most the sender should send (draft-alvestrand-rmcat-remb)."""
    exponent = max(0, bits_per_s.bit_length() - 18)
    mantissa = bits_per_s >> exponent
    body = struct.pack("!II", ssrc, 0) + b"REMB" + bytes((len(media_ssrcs),))
    body += ((exponent << 18) | mantissa).to_bytes(3, "big")
    return _packet(_PSFB, 15, body + b"".join(struct.pack("!I", media) for media in media_ssrcs))


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
