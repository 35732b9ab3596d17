"""One RTP track from packets to access units: the path every packet takes, kept short for the usual one.

Pure: monotonic and wall arrival are passed in, feedback is returned as bytes. Nothing a sender does makes it raise;
what it refuses is counted, with the reason of the last one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit, TrackParams
from streams.ingest.rtp.capture_clock import CaptureClock, FeedClock
from streams.ingest.rtp.depayload import CodedUnit, DepayloadCounters
from streams.ingest.rtp.feedback import FeedbackOptions, FeedbackWriter
from streams.ingest.rtp.formats import MediaFormat, depayloader_for
from streams.ingest.rtp.packet import FIXED_HEADER_BYTES, Buffer, payload_bounds
from streams.ingest.rtp.reorder import IN_ORDER, Released, ReorderBuffer, ReorderLimits
from streams.ingest.rtp.rtcp import Bye, SenderReport, parse_compound
from streams.ingest.rtp.timestamps import TimestampUnwrapper

_HEADER: Final = struct.Struct("!BBHII")
_INTERLEAVED: Final = struct.Struct("!HHHHIII")
"""Interleaved header (RFC 2326, 10.12), RTP header, and the first four octets of the payload."""
_INTERLEAVED_BYTES: Final = 4
_LEAD: Final = struct.Struct("!I")
"""The first four octets of a payload."""
_SKIMMED_LEAST_BYTES: Final = FIXED_HEADER_BYTES + 4
_PLAIN: Final = 0x80
_LAST_UNIT_AFTER_S: Final = 0.25
"""A unit whose marker was seen is given out after this silence, though the next one has not begun."""
_NOTHING: Final[tuple[AccessUnit, ...]] = ()


@lru_cache(maxsize=512)
def _run_of(size: int, skip: int) -> struct.Struct:
    """Interleaved packets of a size: head to sequence number, time and source, what is skipped of the payload, rest."""
    return struct.Struct(f"!QQ{skip}s{size - FIXED_HEADER_BYTES - skip}s")


class TrackCounters(msgspec.Struct):
    """What a track has seen since it began.

    Attributes:
        rejected: Packets that could not be parsed.
        rejection: Why, of the last one.
        other_payloads: Packets of payload types that are not the track's.
        other_sources: Packets of another synchronisation source, not (yet) believed.
        restarts: How often the sender began anew.
        units: Access units given out.
        damaged: Of them, damaged.
        goodbyes: RTCP BYEs received.
    """

    rejected: int = 0
    rejection: str = ""
    other_payloads: int = 0
    other_sources: int = 0
    restarts: int = 0
    units: int = 0
    damaged: int = 0
    goodbyes: int = 0

    def reject(self, reason: str) -> None:
        """Count a packet that cannot be parsed."""
        self.rejected += 1
        self.rejection = reason


class _Held(msgspec.Struct, gc=False):
    """A packet that may have to wait, its payload copied."""

    payload: bytes
    timestamp: int
    marker: int
    arrival_s: float
    arrival: Instant


class TrackReceiver:
    """Takes the RTP and RTCP packets of one media section and gives out its access units.

    Args:
        index: Number of the track in its feed.
        media: Its format, from the session description.
        limits: How long to wait for missing packets; `IN_ORDER` inside TCP.
        feed: Clock shared by the tracks of one feed.
        feedback: What to send back; None sends nothing.

    Raises:
        InvalidMedia: The format cannot be depayloaded.
    """

    def __init__(
        self,
        index: int,
        media: MediaFormat,
        *,
        limits: ReorderLimits = IN_ORDER,
        feed: FeedClock | None = None,
        feedback: FeedbackOptions | None = None,
    ) -> None:
        self.index = index
        self.media = media
        self.counters = TrackCounters()
        self.clock = CaptureClock(media.clock_rate, feed)
        self._depayloader = depayloader_for(media)
        self._payload_type = media.payload_type
        self._order: ReorderBuffer[_Held] = ReorderBuffer(limits)
        self._unwrapper = TimestampUnwrapper(media.clock_rate)
        self._jumps = 0
        self._feedback = FeedbackWriter(feedback, media) if feedback else None
        self._ssrc = -1
        self._candidate: tuple[int, int, _Held] | None = None  # SSRC, sequence number, packet
        self._timestamp = -1
        self._arrival_s = 0.0
        self._arrival = Instant(0)

    @property
    def params(self) -> TrackParams | None:
        """Parameters known so far; None while parameter sets are awaited in band."""
        return self._depayloader.params

    @property
    def depayload_counters(self) -> DepayloadCounters:
        """What the depayloader could not pass on."""
        return self._depayloader.counters

    @property
    def lost_packets(self) -> int:
        """Packets given up since the beginning, over restarts of the sender."""
        return self._order.lost

    @property
    def duplicate_packets(self) -> int:
        """Packets that came more than once."""
        return self._order.duplicates

    @property
    def late_packets(self) -> int:
        """Packets dropped because they came after they had been given up."""
        return self._order.late

    @property
    def wake_at_s(self) -> float | None:
        """When `poll` has something to do, monotonic; None: not before the next packet."""
        due = self._order.wake_at_s
        if self._depayloader.unit_complete:
            complete = self._arrival_s + _LAST_UNIT_AFTER_S
            due = complete if due is None else min(due, complete)
        return due

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait for one that is missing."""
        return bool(self._order.held)

    def reorder(self, limits: ReorderLimits) -> None:
        """Wait for missing packets from now on; before the first one, when the transport is agreed on."""
        self._order = ReorderBuffer(limits)

    def push(
        self, packet: Buffer, arrival_s: float, arrival: Instant, start: int = 0, end: int | None = None
    ) -> Sequence[AccessUnit]:
        """Take the RTP packet `packet[start:end]`; nothing of the buffer is kept uncopied.

        Args:
            packet: A buffer with the packet in it. A `memoryview` saves a copy over `bytearray`.
            arrival_s: Monotonic arrival.
            arrival: Wall-clock arrival.
            start: The packet's first byte.
            end: Behind its last byte.

        Returns:
            Access units that are complete now, in decoding order; often none.
        """
        if end is None:
            end = len(packet)
        body = start + FIXED_HEADER_BYTES
        if end < body:
            self.counters.reject(f"RTP packet of {end - start} bytes")
            return _NOTHING
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet, start)
        if first != _PLAIN:
            try:
                body, end = payload_bounds(packet, first, body, end)
            except InvalidMedia as error:
                self.counters.reject(str(error))
                return _NOTHING
        order = self._order
        expected = order.expected
        if (
            expected is None
            or sequence != expected & 0xFFFF
            or ssrc != self._ssrc
            or second & 0x7F != self._payload_type
            or order.held
        ):
            return self._push_unexpected(
                ssrc, sequence, second, _Held(bytes(packet[body:end]), timestamp, second & 0x80, arrival_s, arrival)
            )
        order.expected = expected + 1
        units = self._depayloader.push(packet, body, end, timestamp, second & 0x80)
        given = self._finish(units, timestamp, arrival_s, arrival) if units else _NOTHING
        self._timestamp = timestamp
        self._arrival_s = arrival_s
        self._arrival = arrival
        return given

    def skim(self, data: memoryview, at: int, limit: int, head: int) -> int:
        """Take the run of interleaved packets from `at` on that only go on with an open fragmented NAL unit.

        Nearly all packets of a picture are such; each is checked as `push` would. They came together with the packet
        that was pushed before.

        Args:
            data: What was received.
            at: Where the first interleaved header stands.
            limit: How far `data` is filled.
            head: The first two octets of the track's interleaved headers: dollar sign and channel.

        Returns:
            Behind the last packet taken; `at` where none was.
        """
        order, middle = self._order, self._depayloader.middle
        if middle is None or order.held or order.expected is None:
            return at
        unit = self._depayloader.open_unit(limit - at)
        if unit is None:
            return at
        mask, value, skip = middle
        expected = order.expected
        # One comparison each: dollar sign and channel; version, no extras, no marker, payload type; source; time.
        plain, timestamp, ssrc = _PLAIN << 8 | self._payload_type, self._timestamp, self._ssrc
        last = limit - _INTERLEAVED.size
        while at <= last:
            its_head, size, its_plain, sequence, its_timestamp, its_ssrc, lead = _INTERLEAVED.unpack_from(data, at)
            if (
                its_plain != plain
                or lead & mask != value
                or its_head != head
                or sequence != expected & 0xFFFF
                or its_timestamp != timestamp
                or its_ssrc != ssrc
                or at + _INTERLEAVED_BYTES + size > limit
                or size < _SKIMMED_LEAST_BYTES
            ):
                break
            # The packets of a picture are nearly all of one size: those that follow and differ from this one in the
            # sequence number alone are taken in one go, with this one.
            run = _run_of(size, skip)
            first, second, fixed, _ = run.unpack_from(data, at)
            most = min((limit - at) // run.size, 0x10000 - sequence)
            pieces = []
            for its_first, its_second, its_fixed, piece in run.iter_unpack(data[at : at + most * run.size]):
                if its_first != first or its_second != second or its_fixed != fixed:
                    break
                pieces.append(piece)
                first += 1
            unit += b"".join(pieces)
            expected += len(pieces)
            at += len(pieces) * run.size
        order.expected = expected
        return at

    def extend(self, data: memoryview, start: int, end: int) -> bool:
        """Take the packet `data[start:end]` if all it does is to go on with an open fragmented NAL unit.

        Nearly all packets of a picture are such; each is checked as `push` would. The unit's time is that of the
        packets pushed before and behind.

        Returns:
            False where it is another, or none: it is to be pushed then.
        """
        order, middle = self._order, self._depayloader.middle
        expected, body = order.expected, start + FIXED_HEADER_BYTES
        if middle is None or expected is None or order.held or end < body:
            return False
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data, start)
        if (
            second != self._payload_type
            or sequence != expected & 0xFFFF
            or timestamp != self._timestamp
            or ssrc != self._ssrc
        ):
            return False
        if first != _PLAIN:
            try:
                body, end = payload_bounds(data, first, body, end)
            except InvalidMedia:
                return False
        mask, value, skip = middle
        if end - body < _LEAD.size or _LEAD.unpack_from(data, body)[0] & mask != value:
            return False
        unit = self._depayloader.open_unit(end - body)
        if unit is None:
            return False
        unit += data[body + skip : end]
        order.expected = expected + 1
        return True

    def poll(self, now_s: float) -> Sequence[AccessUnit]:
        """Give out what has waited long enough; call at `wake_at_s`, or a few times a second."""
        given = self._release(self._order.expire(now_s)) if self._order.held else _NOTHING
        if self._depayloader.unit_complete and now_s - self._arrival_s >= _LAST_UNIT_AFTER_S:
            given = [*given, *self._finish(self._depayloader.flush(), self._timestamp, self._arrival_s, self._arrival)]
        return given

    def flush(self) -> Sequence[AccessUnit]:
        """Give out everything held: the stream has ended."""
        given = self._release(self._order.flush())
        return [*given, *self._finish(self._depayloader.flush(), self._timestamp, self._arrival_s, self._arrival)]

    def on_rtcp(self, data: Buffer, arrival_s: float) -> None:
        """Take a compound RTCP packet."""
        try:
            parts = parse_compound(data)
        except InvalidMedia as error:
            self.counters.reject(str(error))
            return
        for part in parts:
            if isinstance(part, Bye):
                self.counters.goodbyes += self._ssrc in part.ssrcs
            elif part.ssrc == self._ssrc:
                self._on_report(part, arrival_s)

    def feedback(self, now_s: float) -> bytes:
        """Return the RTCP that is due now as one compound packet; empty if none is.

        Receiver reports are due every few seconds, NACKs and keyframe requests as the limits say.
        """
        if self._feedback is None or self._ssrc < 0:
            return b""
        return self._feedback.due(now_s, self._ssrc, self._order)

    def _on_report(self, report: SenderReport, arrival_s: float) -> None:
        self.clock.on_report(report, self._unwrapper.locate(report.rtp_timestamp))
        if self._feedback is not None:
            self._feedback.on_report(report, arrival_s)

    def _push_unexpected(self, ssrc: int, sequence: int, second: int, held: _Held) -> Sequence[AccessUnit]:
        if second & 0x7F != self._payload_type:
            self.counters.other_payloads += 1
            return _NOTHING
        if ssrc != self._ssrc:
            return self._push_other_source(ssrc, sequence, held)
        self._candidate = None
        return self._release(self._order.push(sequence, held, held.arrival_s))

    def _push_other_source(self, ssrc: int, sequence: int, held: _Held) -> Sequence[AccessUnit]:
        """Follow a new source when two of its packets came in a row, so that a stray packet changes nothing."""
        if self._ssrc < 0:
            self._ssrc = ssrc
            return self._release(self._order.push(sequence, held, held.arrival_s))
        candidate, self._candidate = self._candidate, (ssrc, sequence, held)
        if candidate is None or candidate[0] != ssrc or sequence != (candidate[1] + 1) & 0xFFFF:
            self.counters.other_sources += 1
            return _NOTHING
        self.counters.other_sources -= 1
        given = list(self._release(self._order.flush()))
        self._candidate = None
        self._ssrc = ssrc
        self._order.reset()
        self._order.push(candidate[1], candidate[2], held.arrival_s)
        given += self._release([Released(candidate[2], 0, restarted=True)])
        given += self._release(self._order.push(sequence, held, held.arrival_s))
        return given

    def _release(self, released: Sequence[Released[_Held]]) -> Sequence[AccessUnit]:
        given: list[AccessUnit] = []
        for held, lost, restarted in released:
            if restarted:
                given += self._restart()
            if lost:
                self._depayloader.lose(lost, held.timestamp)
                if self._feedback is not None:
                    self._feedback.want_keyframe()
            units = self._depayloader.push(held.payload, 0, len(held.payload), held.timestamp, held.marker)
            given += self._finish(units, held.timestamp, held.arrival_s, held.arrival)
            self._timestamp, self._arrival_s, self._arrival = held.timestamp, held.arrival_s, held.arrival
        return given

    def _restart(self) -> Sequence[AccessUnit]:
        given = self._finish(self._depayloader.flush(), self._timestamp, self._arrival_s, self._arrival)
        self.counters.restarts += 1
        self._unwrapper.restart()
        self.clock.restart()
        if self._feedback is not None:
            self._feedback.restart()
        return given

    def _finish(
        self, units: Sequence[CodedUnit], timestamp: int, arrival_s: float, arrival: Instant
    ) -> Sequence[AccessUnit]:
        """Put units on the clocks. Those with another timestamp than the packet at hand ended with the one before."""
        given = []
        for unit in units:
            if unit.timestamp == self._timestamp and unit.timestamp != timestamp:
                given.append(self._give(unit, self._arrival_s, self._arrival))
            else:
                given.append(self._give(unit, arrival_s, arrival))
        return given

    def _give(self, unit: CodedUnit, arrival_s: float, arrival: Instant) -> AccessUnit:
        pts = self._unwrapper.unwrap(unit.timestamp, arrival_s)
        if self._unwrapper.jumps != self._jumps:
            self._jumps = self._unwrapper.jumps
            self.clock.restart()
        captured_at = self.clock.captured_at(pts, arrival_s, arrival)
        self.counters.units += 1
        self.counters.damaged += unit.damaged
        if self._feedback is not None:
            self._feedback.on_unit(unit, arrival_s)
        return AccessUnit(
            track=self.index,
            params=unit.params,
            pts=pts,
            data=unit.data,
            keyframe=unit.keyframe,
            captured_at=captured_at,
            arrived_at=arrival,
            lost_packets=unit.lost_packets,
            damaged=unit.damaged,
        )
