"""When something that falls will be used up: a robust slope over a bounded window (Theil, 1950; Sen, 1968).

The median of the slopes between all pairs of samples is moved neither by a spike nor by a step that is put right again.
"""

from __future__ import annotations

from statistics import median

import msgspec

SAMPLE_EVERY_MS = 15_000
WINDOW_MS = 480_000
MAX_SAMPLES = WINDOW_MS // SAMPLE_EVERY_MS
MIN_SAMPLES = 5
MIN_SPAN_MS = 60_000


class Trend(msgspec.Struct, frozen=True):
    """Samples of one quantity and its slope.

    Attributes:
        samples: (milliseconds since 1970, value), ascending, at most `MAX_SAMPLES`, `SAMPLE_EVERY_MS` apart.
        slope: Of the newest window, per millisecond; None while too little is known.
    """

    samples: tuple[tuple[int, float], ...] = ()
    slope: float | None = None

    def add(self, at: int, value: float, min_fall: float) -> Trend:
        """Take in a reading; one of every 15 s is kept.

        Args:
            at: When it was measured.
            value: What was.
            min_fall: A fall over the window by less than this is none: readings come in steps.

        Returns:
            The trend after it; the same object where the reading was not kept.
        """
        if self.samples and at < self.samples[-1][0] + SAMPLE_EVERY_MS:
            return self
        kept = [*(one for one in self.samples if one[0] >= at - WINDOW_MS), (at, value)][-MAX_SAMPLES:]
        return Trend(tuple(kept), _slope(kept, min_fall))

    def left_ms(self, value: float) -> float | None:
        """Return how long until `value` is used up: infinite where it does not fall, None where that is not known."""
        if self.slope is None:
            return None
        return value / -self.slope if self.slope < 0 else float("inf")


def _slope(samples: list[tuple[int, float]], min_fall: float) -> float | None:
    if len(samples) < MIN_SAMPLES or samples[-1][0] - samples[0][0] < MIN_SPAN_MS:
        return None
    if median(value for _, value in samples[:3]) - median(value for _, value in samples[-3:]) < min_fall:
        return 0.0
    return median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, later in enumerate(samples)
        for earlier in samples[:index]
    )
