"""RTP time to wall-clock capture time.

The sender's clock is believed for the rate and for how its tracks lie to each other, never for the hour: cameras are
minutes or decades off. The distance from its clock to ours is estimated from the packets that were delayed least, and
moves slowly, so that jitter does not reach the result:

1. Each track's media time is a timeline of its own. The smallest (arrival − media time) seen lately anchors it; the
   anchor moves by at most 500 ppm, faster only where it was wrong by over a second for a whole minute.
2. Where sender reports are sane, the tracks of a feed share one timeline, that of the sender's clock, anchored alike.
   A change from one mapping to another, or to a newer report, is worked off by 1 % of the time that passes.
3. A report is sane if it agrees with the one before it (times of both clocks between the two equal within 50 ms +
   1,000 ppm), and if its timeline gives capture times within 2 s of the track's own.
4. Arrival bounds everything: capture is never after arrival, and never more than a minute before it.
5. Within a run, capture times never run against media time. A run ends where the sender starts anew, its timestamps
   jump, or our wall clock is set back.

Monotonic and wall arrival are passed in together; the wall clock serves only to name the moment.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from domain.clock import Instant
from streams.ingest.rtp.rtcp import SenderReport

MAX_BEHIND_ARRIVAL_S: Final = 60.0
SLEW: Final = 500e-6
_FAST_SLEW: Final = 0.02
_RESIDUAL_SLEW: Final = 0.01
_FAR_S: Final = 1.0
_BUCKET_S: Final = 5.0
_BUCKETS: Final = 12
_REPORT_TOLERANCE_S: Final = 0.05
_REPORT_DRIFT: Final = 1000e-6
_REPORT_DISAGREES_S: Final = 2.0
_WALL_STEP_MS: Final = 500
_NEVER: Final = Instant(0)


class Anchor:
    """Estimates (our monotonic time − a sender's time) from the least delayed arrivals of the last minute."""

    __slots__ = ("_bucket_ends_s", "_buckets", "_least_s", "_updated_s", "offset_s")

    def __init__(self) -> None:
        self.offset_s: float | None = None
        self._updated_s = 0.0
        self._buckets: deque[float] = deque(maxlen=_BUCKETS)  # least (arrival − sender time) of each
        self._bucket_ends_s = float("-inf")
        self._least_s = 0.0  # of all buckets

    def map(self, sender_s: float, ours_s: float, now_s: float) -> float:
        """Learn that the sender's moment was not after `ours_s`, and return our time of it.

        Args:
            sender_s: A moment of the sender's timeline.
            ours_s: The latest it can have been, monotonic.
            now_s: Monotonic time now; never goes back.
        """
        transit_s = ours_s - sender_s
        if now_s >= self._bucket_ends_s or transit_s < self._buckets[-1]:
            self._remember(transit_s, now_s)
        offset_s = self.offset_s
        if offset_s is None or transit_s < offset_s:
            offset_s = transit_s
        elif self._least_s > offset_s:
            offset_s = self._slew(offset_s, now_s)
        self.offset_s = offset_s
        self._updated_s = now_s
        return sender_s + offset_s

    def _remember(self, transit_s: float, now_s: float) -> None:
        if now_s >= self._bucket_ends_s:
            self._buckets.append(transit_s)
            self._bucket_ends_s = now_s + _BUCKET_S
            self._least_s = min(self._buckets)
        else:
            self._buckets[-1] = transit_s
            self._least_s = min(self._least_s, transit_s)

    def _slew(self, offset_s: float, now_s: float) -> float:
        error_s = self._least_s - offset_s
        whole_minute = len(self._buckets) == _BUCKETS
        rate = _FAST_SLEW if error_s > _FAR_S and whole_minute else SLEW
        return offset_s + min(error_s, rate * (now_s - self._updated_s))


class FeedClock:
    """What the tracks of one feed share: the anchor of the sender's own clock.

    Attributes:
        generation: Counts the estimates begun; a change means that mapped times may have jumped.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._anchor = Anchor()

    def map(self, ntp_s: float, ours_s: float, now_s: float) -> float | None:
        """Map a moment of the sender's clock to our monotonic time; None if that is far from `ours_s`.

        Args:
            ntp_s: Seconds since 1970 by the sender's reckoning.
            ours_s: The same moment as the track alone places it.
            now_s: Monotonic time now.
        """
        known = self._anchor.offset_s
        if known is not None and abs(ours_s - ntp_s - known) > _REPORT_DISAGREES_S:
            return None
        return self._anchor.map(ntp_s, ours_s, now_s)

    def forget(self) -> None:
        """The sender's clock was set: begin a new estimate."""
        self.generation += 1
        self._anchor = Anchor()

    def track(self, clock_rate: int) -> CaptureClock:
        """Make the clock of one track."""
        return CaptureClock(clock_rate, self)


class CaptureClock:
    """Maps one track's unwrapped timestamps to wall-clock time.

    Args:
        clock_rate: Ticks per second.
        feed: Shared by the tracks of one feed; None for a track alone.

    Attributes:
        reports_refused: Sender reports not used because they contradict each other or the arrival of packets.
        uses_reports: Whether sender reports are in force now.
    """

    def __init__(self, clock_rate: int, feed: FeedClock | None = None) -> None:
        self.reports_refused = 0
        self._rate = clock_rate
        self._feed = feed or FeedClock()
        self.restart()

    def restart(self) -> None:
        """Begin a new run: what was known of the sender's time holds no more."""
        self.uses_reports = False
        self._own = Anchor()
        self._report: tuple[int, float] | None = None  # pts and sender's clock of the last report
        self._mapping = (0, 0)  # what `raw` rests on; a change of it is smoothed
        self._reports = 0
        self._residual_s = 0.0
        self._capture_s = 0.0  # of the newest picture, before the bounds
        self._newest: tuple[int, Instant] | None = None
        self._floor = Instant(0)

    def on_report(self, report: SenderReport, pts: int | None) -> None:
        """Take a sender report.

        Args:
            report: As received.
            pts: Its RTP timestamp, unwrapped; None where no packet of the track has come yet.
        """
        if pts is None or report.ntp == 0:
            return
        before, self._report = self._report, (pts, report.unix_s)
        if before is None:
            return
        media_s = (pts - before[0]) / self._rate
        apart_s = abs(report.unix_s - before[1] - media_s)
        self._reports += 1
        self.uses_reports = media_s >= 0 and apart_s <= _REPORT_TOLERANCE_S + _REPORT_DRIFT * media_s
        if not self.uses_reports:
            self.reports_refused += 1
            self._feed.forget()

    def sender_s(self, pts: int) -> float | None:
        """Return a moment by the sender's own clock, seconds since 1970; None where it has not told it yet."""
        return None if self._report is None else self._report[1] + (pts - self._report[0]) / self._rate

    def captured_at(self, pts: int, arrival_s: float, arrival: Instant) -> Instant:
        """Return when a unit was captured.

        Args:
            pts: Unwrapped timestamp; may go back against the unit before (B-frames).
            arrival_s: Monotonic arrival of its last packet.
            arrival: Wall-clock arrival of its last packet.
        """
        newest = self._newest
        if newest is not None and pts <= newest[0]:
            return self._between(pts, arrival)
        behind_s = arrival_s - self._smooth(pts, self._map(pts, arrival_s))
        # Plain comparisons, and one `Instant`: this is done for every picture and every sound frame.
        if behind_s <= 0:
            behind_s = 0.0
        elif behind_s > MAX_BEHIND_ARRIVAL_S:
            behind_s = MAX_BEHIND_ARRIVAL_S
        floor = _NEVER if newest is None else newest[1]
        if floor - arrival > _WALL_STEP_MS:  # our wall clock was set back: a new run
            floor = _NEVER
        self._floor = floor
        moment = arrival.plus(-round(1000 * behind_s))
        moment = max(moment, floor)
        moment = min(moment, arrival)
        self._newest = (pts, moment)
        return moment

    def _between(self, pts: int, arrival: Instant) -> Instant:
        """Place a picture that is shown before the newest one, on the line back from it."""
        assert self._newest is not None  # noqa: S101 - for the type checker
        newest_pts, newest = self._newest
        moment = newest.plus(-round(1000 * (newest_pts - pts) / self._rate))
        return min(max(moment, min(self._floor, newest)), arrival)

    def _map(self, pts: int, arrival_s: float) -> float:
        own_s = self._own.map(pts / self._rate, arrival_s, arrival_s)
        if not self.uses_reports or self._report is None:
            return own_s
        report_pts, ntp_s = self._report
        mapped_s = self._feed.map(ntp_s + (pts - report_pts) / self._rate, own_s, arrival_s)
        if mapped_s is None:
            self.reports_refused += 1
            self.uses_reports = False
            return own_s
        return mapped_s

    def _smooth(self, pts: int, raw_s: float) -> float:
        """Work off what a change of mapping makes the time jump by, 1 % of the time that passes."""
        mapping = (self._reports if self.uses_reports else -1, self._feed.generation)
        if self._newest is not None:
            passed_s = (pts - self._newest[0]) / self._rate
            if mapping != self._mapping:
                self._residual_s = self._capture_s + passed_s - raw_s
            if self._residual_s:
                worked_off_s = min(abs(self._residual_s), _RESIDUAL_SLEW * passed_s)
                self._residual_s -= math.copysign(worked_off_s, self._residual_s)
        self._mapping = mapping
        self._capture_s = raw_s + self._residual_s
        return self._capture_s
