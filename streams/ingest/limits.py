"""How long and large fragments and segments get."""

from __future__ import annotations

import msgspec

from domain.clock import Instant
from domain.settings import Settings


class Limits(msgspec.Struct, frozen=True):
    """How long and large a fragment gets.

    Attributes:
        max_ms: Longest fragment.
        max_bytes: Size of its units at which it is cut.
        segment_ms: Length of segments on the clock; divides an hour.
        gap_ms: Missing media longer than this parts two fragments.
    """

    max_ms: int = 4_000
    max_bytes: int = 1_000_000
    segment_ms: int = 60_000
    gap_ms: int = 1_000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take the limits from the settings."""
        return cls(
            max_ms=round(settings.fragment_max_s * 1000),
            max_bytes=settings.fragment_max_bytes,
            segment_ms=settings.segment_s * 1000,
            gap_ms=round(settings.gap_min_s * 1000),
        )

    def slot(self, moment: Instant) -> int:
        """Number the segment lengths of the clock. China is 8 whole hours off, so that a slot of UTC is one of hers."""
        return moment // self.segment_ms
