"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).

Arrival times of all packets of a peer, by which the sender finds out how much the path carries. Pure; times are passed
in.
"""

from __future__ import annotations

import struct
from typing import Final

from streams.ingest.rtp.packet import Buffer

_RTPFB_15: Final = 0x8F
_RTPFB: Final = 205
_ONE_BYTE_PROFILE: Final = 0xBEDE
_TICK_S: Final = 0.000_25
_REFERENCE_TICKS: Final = 256
"""The reference time counts 64 ms."""
MAX_SPAN: Final = 2048
"""Sequence numbers reported on at once; older ones are forgotten: the sender counts them as lost."""

_MISSING: Final = 0
_SMALL: Final = 1
_LARGE: Final = 2


def extension_value(data: Buffer, start: int, end: int, extension_id: int) -> int:
    """Return the 16-bit value of a one-byte header extension (RFC 8285, 4.2), −1 where it is not there.

    Args:
        data: A buffer with an RTP packet in it.
        start: The packet's first octet.
        end: Behind its last.
        extension_id: 1 to 14.
    """
    if not data[start] & 0x10:
        return -1
    at = start + 12 + 4 * (data[start] & 0x0F)
    if end < at + 4 or (data[at] << 8 | data[at + 1]) != _ONE_BYTE_PROFILE:
        return -1
    end = min(at + 4 + 4 * (data[at + 2] << 8 | data[at + 3]), end)
    at += 4
    while at + 2 < end:
        head = data[at]
        if head == 0:
            at += 1
            continue
        if head >> 4 == extension_id:
            return data[at + 1] << 8 | data[at + 2] if head & 0x0F == 1 else -1
        at += 2 + (head & 0x0F)
    return -1


class ArrivalLog:
    """Collects arrivals and writes feedback.

    Args:
        ssrc: Ours.
    """

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._arrivals: dict[int, float] = {}
        self._highest = -1
        self._reported = -1
        self._count = 0

    def arrived(self, sequence: int, now_s: float) -> None:
        """Learn of a packet.

        Args:
            sequence: Its 16-bit transport-wide sequence number.
            now_s: Monotonic arrival.
        """
        highest = self._highest
        if highest < 0:
            number = sequence + 0x10000
            self._reported = number - 1
        else:
            number = highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000
        if number <= self._reported:
            return
        if number > highest:
            self._highest = number
            if number - self._reported > MAX_SPAN:
                self._forget_to(number - MAX_SPAN)
        self._arrivals.setdefault(number, now_s)

    def feedback(self, media_ssrc: int) -> bytes:
        """Return a feedback packet on all that came since the last; empty if nothing did."""
        if not self._arrivals:
            return b""
        first, last = self._reported + 1, self._highest
        reference = int(self._arrivals[min(self._arrivals)] / _TICK_S) // _REFERENCE_TICKS
        symbols, deltas = self._deltas(first, last, reference * _REFERENCE_TICKS)
        self._reported = last
        self._arrivals.clear()
        body = struct.pack("!IIHH", self._ssrc, media_ssrc, first & 0xFFFF, len(symbols))
        body += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes((self._count & 0xFF,))
        self._count += 1
        body += _chunks(symbols) + bytes(deltas)
        padding = -len(body) % 4
        first_octet = _RTPFB_15 | (0x20 if padding else 0)
        if padding:
            body += bytes(padding - 1) + bytes((padding,))
        return struct.pack("!BBH", first_octet, _RTPFB, len(body) // 4) + body

    def _forget_to(self, number: int) -> None:
        self._reported = number
        for old in [each for each in self._arrivals if each <= number]:
            del self._arrivals[old]

    def _deltas(self, first: int, last: int, ticks: int) -> tuple[list[int], bytearray]:
        """Return a symbol for each number and the arrival differences, in ticks from the reference on."""
        symbols: list[int] = []
        deltas = bytearray()
        for number in range(first, last + 1):
            arrival_s = self._arrivals.get(number)
            if arrival_s is None:
                symbols.append(_MISSING)
                continue
            delta = int(arrival_s / _TICK_S) - ticks
            if 0 <= delta < 256:
                symbols.append(_SMALL)
                deltas.append(delta)
            else:
                delta = max(-0x8000, min(delta, 0x7FFF))
                symbols.append(_LARGE)
                deltas += delta.to_bytes(2, "big", signed=True)
            ticks += delta
        return symbols, deltas


def _chunks(symbols: list[int]) -> bytes:
    """Write runs of one symbol as run lengths, the rest as vectors of seven two-bit symbols."""
    out = bytearray()
    at = 0
    while at < len(symbols):
        run = _run(symbols, at)
        if run >= 7 or at + run == len(symbols):
            out += (symbols[at] << 13 | run).to_bytes(2, "big")
            at += run
            continue
        vector = symbols[at : at + 7]
        value = 0
        for symbol in vector + [_MISSING] * (7 - len(vector)):
            value = value << 2 | symbol
        out += (0xC000 | value).to_bytes(2, "big")
        at += len(vector)
    return bytes(out)


def _run(symbols: list[int], at: int) -> int:
    symbol = symbols[at]
    end = at
    while end < len(symbols) and symbols[end] == symbol and end - at < 0x1FFF:
        end += 1
    return end - at
