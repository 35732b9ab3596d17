"""32-bit RTP timestamps counted on over wraps, and over the jumps of senders that set their clock anew."""

from __future__ import annotations

from typing import Final

_JUMP_AHEAD_S: Final = 10.0
_JUMP_BACK_S: Final = 5.0
"""No reordering of pictures reaches so far back."""
_MOST_REORDERED: Final = 16
"""Pictures that H.264 and H.265 may send after one that is shown later; with more of them, time itself went back."""


class TimestampUnwrapper:
    """Turns 32-bit timestamps into a count that never jumps by itself.

    Args:
        clock_rate: Ticks per second.

    Attributes:
        jumps: How often the sender's timestamps jumped, which is bridged with the time that passed.
    """

    def __init__(self, clock_rate: int) -> None:
        self.jumps = 0
        self._rate = clock_rate
        self._ahead = round(_JUMP_AHEAD_S * clock_rate)  # steps between these two are no jump, whatever time passed
        self._back = -round(_JUMP_BACK_S * clock_rate)
        self._timestamp = -1
        self._pts = 0
        self._arrival_s = 0.0
        self._newest = 0
        self._newest_s = 0.0
        self._behind = 0
        self._restart = False

    def restart(self) -> None:
        """The sender began anew: the next timestamp says nothing about the one before it."""
        self._restart = self._timestamp >= 0

    def unwrap(self, timestamp: int, arrival_s: float) -> int:
        """Return the unwrapped timestamp; the first one stands for itself.

        Args:
            timestamp: 32 bits as sent.
            arrival_s: Monotonic arrival; only used to bridge jumps.
        """
        if self._timestamp < 0:
            self._pts = timestamp
            self._newest = timestamp - 1
        else:
            step = ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            if self._restart or not self._back <= step <= self._ahead:
                step = self._over_jump(step, arrival_s - self._arrival_s)
            self._pts += step
        self._timestamp = timestamp
        self._arrival_s = arrival_s
        if self._pts <= self._newest:
            self._watch_the_newest(arrival_s)
        if self._pts > self._newest:
            self._newest, self._newest_s, self._behind = self._pts, arrival_s, 0
        return self._pts

    def _over_jump(self, step: int, passed_s: float) -> int:
        """Bridge a jump with the time that passed; what looks like one and is none stays."""
        if not self._restart and not self._is_jump(step / self._rate, passed_s):
            return step
        self._restart = False
        self.jumps += 1
        return max(1, round(passed_s * self._rate))

    def _watch_the_newest(self, arrival_s: float) -> None:
        """Tell pictures sent out of order, of which one soon is the newest again, from a clock that was set back."""
        self._behind += 1
        if self._behind > _MOST_REORDERED:
            self.jumps += 1
            self._pts = self._newest + max(1, round((arrival_s - self._newest_s) * self._rate))

    def locate(self, timestamp: int) -> int | None:
        """Unwrap a timestamp near the newest one (a sender report's) without taking it as one; None before any."""
        if self._timestamp < 0 or self._restart:
            return None
        return self._pts + ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    @staticmethod
    def _is_jump(step_s: float, passed_s: float) -> bool:
        """Tell a jump from a pause, after which the timestamps have moved on as the time has, and from a burst."""
        if step_s >= 0:
            return step_s > _JUMP_AHEAD_S and step_s - passed_s > _JUMP_AHEAD_S
        return step_s < -_JUMP_BACK_S
