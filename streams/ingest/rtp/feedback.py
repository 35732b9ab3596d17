"""What a receiver says back: receiver reports (RFC 3550), NACKs and keyframe requests (RFC 4585)."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from streams.ingest.rtp import rtcp
from streams.ingest.rtp.depayload import CodedUnit
from streams.ingest.rtp.formats import MediaFormat

_KEYFRAME_EVERY_S: Final = 1.0


class FeedbackOptions(msgspec.Struct, frozen=True):
    """What to send back.

    Attributes:
        ssrc: Ours.
        cname: Our canonical name; says nothing about the machine.
        reports_every_s: Interval of receiver reports; 0 sends none.
        keyframes: Whether the other side takes keyframe requests.
    """

    ssrc: int
    cname: str = "liuhen"
    reports_every_s: float = 5.0
    keyframes: bool = False


class Reception(Protocol):
    """What is reported on; `ReorderBuffer` has it."""

    expected: int | None
    lost: int

    def nacks(self, now_s: float) -> list[int]:
        """Return the sequence numbers to ask for now."""
        ...


class FeedbackWriter:
    """Keeps what reports need and says what is due.

    Args:
        options: What to send.
        media: Format of the track.
    """

    def __init__(self, options: FeedbackOptions, media: MediaFormat) -> None:
        self._options = options
        self._rate = media.clock_rate
        # A recording can begin only at a keyframe: ask for one straight away.
        self._keyframe_wanted = media.codec.is_video
        self._is_video = media.codec.is_video
        self._keyframe_asked_s = float("-inf")
        self._reported_s = float("-inf")
        self.restart()

    def restart(self) -> None:
        """The sender began anew."""
        self._base: int | None = None
        self._base_lost = 0
        self._expected_before = 0
        self._lost_before = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self._last_sr = 0
        self._last_sr_s = 0.0
        self.want_keyframe()

    def want_keyframe(self) -> None:
        """Something is lost for good: ask for a keyframe until one comes whole."""
        self._keyframe_wanted = self._is_video

    def on_unit(self, unit: CodedUnit, arrival_s: float) -> None:
        """Learn from a unit: jitter (per unit, not per packet: it is cheaper and says the same), and keyframes."""
        transit = arrival_s * self._rate - unit.timestamp
        if self._transit is not None and abs(transit - self._transit) < self._rate * 10:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit
        if unit.damaged:
            self.want_keyframe()
        elif unit.keyframe:
            self._keyframe_wanted = False

    def on_report(self, report: rtcp.SenderReport, arrival_s: float) -> None:
        """Remember the sender report that the next receiver report answers."""
        self._last_sr = (report.ntp >> 16) & 0xFFFFFFFF
        self._last_sr_s = arrival_s

    def due(self, now_s: float, media_ssrc: int, reception: Reception) -> bytes:
        """Return what is to be sent now, as one compound packet."""
        options = self._options
        requests = b""
        if sequences := reception.nacks(now_s):
            requests += rtcp.nack(options.ssrc, media_ssrc, sequences)
        if options.keyframes and self._keyframe_wanted and now_s - self._keyframe_asked_s >= _KEYFRAME_EVERY_S:
            self._keyframe_asked_s = now_s
            requests += rtcp.picture_loss(options.ssrc, media_ssrc)
        report_due = 0 < options.reports_every_s <= now_s - self._reported_s
        if not requests and not report_due:
            return b""
        blocks = []
        if report_due:
            self._reported_s = now_s
            blocks = [self._block(now_s, media_ssrc, reception)]
        head = rtcp.receiver_report(options.ssrc, blocks) + rtcp.source_description(options.ssrc, options.cname)
        return head + requests

    def _block(self, now_s: float, media_ssrc: int, reception: Reception) -> rtcp.ReportBlock:
        expected = reception.expected or 0
        if self._base is None:
            self._base, self._base_lost = expected, reception.lost
            self._expected_before, self._lost_before = expected, reception.lost
        step, lost = expected - self._expected_before, reception.lost - self._lost_before
        self._expected_before, self._lost_before = expected, reception.lost
        return rtcp.ReportBlock(
            ssrc=media_ssrc,
            fraction_lost=(lost << 8) // step if step > 0 and lost > 0 else 0,
            total_lost=reception.lost - self._base_lost,
            highest_sequence=expected - 1,
            jitter=int(self._jitter),
            last_sr=self._last_sr,
            delay_since_sr=int(65536 * (now_s - self._last_sr_s)) if self._last_sr else 0,
        )
