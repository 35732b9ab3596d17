"""How much a sender may send, for those that take REMB and know no transport-wide feedback. Pure."""

from __future__ import annotations

from typing import Final

from streams.ingest.rtp.rtcp import max_bitrate

START_BPS: Final = 2_000_000
CEILING_BPS: Final = 12_000_000
FLOOR_BPS: Final = 150_000
_GROW: Final = 1.15
_LITTLE_LOSS: Final = 0.02
_MUCH_LOSS: Final = 0.10
_HEADROOM: Final = 2.0
EVERY_S: Final = 1.0


class BitrateAdvice:
    """Grows while nothing is lost, falls with heavy loss, never far above what really comes."""

    def __init__(self) -> None:
        self.bits_per_s = START_BPS

    def update(self, received_bps: float, lost: int, received: int) -> int:
        """Take what the last interval showed and return the new limit, bits per second.

        Args:
            received_bps: Bit rate that came in.
            lost: Packets lost for good.
            received: Packets received.
        """
        loss = lost / (lost + received) if lost + received else 0.0
        limit = float(self.bits_per_s)
        if loss > _MUCH_LOSS:
            limit = min(limit, received_bps) * (1 - loss / 2)
        elif loss < _LITTLE_LOSS:
            # A sender that uses little of its limit says nothing about the path: leave the limit where it is.
            limit = max(limit, min(limit * _GROW, received_bps * _HEADROOM))
        self.bits_per_s = int(max(FLOOR_BPS, min(limit, CEILING_BPS)))
        return self.bits_per_s


class AdviceSchedule:
    """Turns running totals into REMB packets, one a second.

    Args:
        ssrc: Ours.
    """

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._advice = BitrateAdvice()
        self._before: tuple[float, int, int, int] | None = None

    def due(self, now_s: float, media_ssrc: int, media_bytes: int, packets: int, lost: int) -> bytes:
        """Return a REMB where one is due, else nothing.

        Args:
            now_s: Monotonic time.
            media_ssrc: The sender's; 0 before its first packet.
            media_bytes: Received since the beginning.
            packets: Received since the beginning.
            lost: Lost for good since the beginning.
        """
        if not media_ssrc or (self._before is not None and now_s - self._before[0] < EVERY_S):
            return b""
        before, self._before = self._before, (now_s, media_bytes, packets, lost)
        if before is not None:
            rate_bps = 8 * (media_bytes - before[1]) / (now_s - before[0])
            self._advice.update(rate_bps, max(0, lost - before[3]), packets - before[2])
        return max_bitrate(self._ssrc, [media_ssrc], self._advice.bits_per_s)
