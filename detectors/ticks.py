"""What the ticks of a partition have said: the clock of its recorders. Pure."""

from __future__ import annotations

from bisect import insort

import msgspec

from detectors.intake import CALM_MS, JITTER_MS, TICK_NEAR_MS

MAX_TICKS = 128
"""Ticks remembered: twice the lateness at one a second, with room."""


class Ticks(msgspec.Struct):
    """What the ticks of a partition have said.

    Attributes:
        moments: `at` of the newest ones, ascending, milliseconds since 1970.
        calm_at: Ticks themselves stood out of order; until then the whole partition counts as disordered.
    """

    moments: list[int] = []
    calm_at: int = 0

    @property
    def newest(self) -> int:
        """The newest; 0 before any."""
        return self.moments[-1] if self.moments else 0

    def run_beside(self, at: int) -> bool:
        """Tell whether the ticks have come without a break, the last three of them up to about `at`."""
        last = self.moments[-3:]
        return len(last) == 3 and last[2] - last[0] <= 2 * TICK_NEAR_MS and at - last[2] <= TICK_NEAR_MS

    def add(self, at: int, lateness_ms: int) -> bool:
        """Take in a tick; tell whether it is the newest. One that was there, or stands too late, changes nothing."""
        behind = self.newest - at
        if behind > lateness_ms or at in self.moments:
            return False
        if behind > JITTER_MS:
            self.calm_at = self.newest + CALM_MS
        # Counted from the tick before: where ticks were missing, recorders still wait for moments of that time.
        horizon = self.newest - 2 * lateness_ms
        insort(self.moments, at)
        while self.moments[0] < horizon or len(self.moments) > MAX_TICKS:
            del self.moments[0]
        return behind < 0
