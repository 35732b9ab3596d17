"""Time: instants in whole milliseconds, RFC 3339 on the wire, and the one port to the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

CHINA = timezone(timedelta(hours=8), "+08:00")
"""China has one zone and no daylight saving; everything is written in it, whatever the machine's zone."""


class Instant(int):
    """Milliseconds since 1970-01-01T00:00:00Z.

    Arithmetic gives plain ``int`` (a duration in milliseconds); `plus` gives an `Instant` again, so that the
    type checker sees when a duration is used where a point in time is meant.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Instant:
        """Read RFC 3339 with an offset; finer digits than milliseconds are cut off.

        Raises:
            ValueError: Not RFC 3339, without an offset, or of a year that cannot be written in China's zone.
        """
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            msg = f"time without offset: {text!r}"
            raise ValueError(msg)
        at = (moment - _EPOCH) // _MILLISECOND
        if not _FIRST <= at <= _LAST:
            msg = f"time out of range: {text!r}"
            raise ValueError(msg)
        return cls(at)

    @classmethod
    def of(cls, moment: datetime) -> Instant:
        """Convert an aware datetime, exactly, without passing through a float."""
        return cls((moment - _EPOCH) // _MILLISECOND)

    @classmethod
    def of_seconds(cls, seconds: float) -> Instant:
        """Convert seconds since the epoch, rounded to the nearest millisecond."""
        return cls(round(seconds * 1000))

    def plus(self, milliseconds: int) -> Instant:
        """Return the instant so many milliseconds later."""
        return Instant(self + milliseconds)

    def datetime(self) -> datetime:
        """Return an aware datetime in China Standard Time."""
        return _EPOCH_CHINA + timedelta(milliseconds=int(self))

    def rfc3339(self) -> str:
        """Return RFC 3339 with offset, to the millisecond, as everywhere on the wire."""
        return self.datetime().isoformat(timespec="milliseconds")

    def __str__(self) -> str:
        return self.rfc3339()

    def __repr__(self) -> str:
        return f"Instant({self.rfc3339()})"


_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_CHINA = _EPOCH.astimezone(CHINA)
_FIRST = (datetime(1, 1, 1, tzinfo=CHINA) - _EPOCH) // _MILLISECOND
_LAST = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=CHINA) - _EPOCH) // _MILLISECOND
"""What `datetime` can hold; a time beyond it would be read and could never be written."""


def ms(seconds: float) -> int:
    """Convert a wire duration in seconds to whole milliseconds."""
    return round(seconds * 1000)


class Clock(Protocol):
    """What may be asked for the time; injected, so that tests own it."""

    def now(self) -> Instant:
        """Wall-clock time."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Wall-clock time."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told; wall and monotonic time may be stepped apart."""

    def __init__(self, start: Instant, monotonic_s: float = 0.0) -> None:
        self._now = start
        self._monotonic_s = monotonic_s

    def now(self) -> Instant:
        """Wall-clock time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self._now = self._now.plus(ms(seconds))
        self._monotonic_s += seconds

    def step(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or a person would."""
        self._now = self._now.plus(ms(seconds))
