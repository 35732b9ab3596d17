"""Waiting times between attempts: doubling with jitter, forgotten after a healthy while."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Full waits 1, 2, 4 … 30 s, each drawn from its upper half so that cameras of one switch do not return together.

    Args:
        random: Returns a number from 0 to 1, such as `random.random`.
        first_s: Wait after the first failure.
        most_s: Longest wait.
        healthy_s: After a run of this length the next failure is a first one again.
    """

    def __init__(
        self, random: Callable[[], float], first_s: float = 1.0, most_s: float = 30.0, healthy_s: float = 30.0
    ) -> None:
        self._random = random
        self._first_s = first_s
        self._most_s = most_s
        self._healthy_s = healthy_s
        self._next_s = first_s

    def after_failure(self, ran_s: float = 0.0) -> float:
        """Return how long to wait now.

        Args:
            ran_s: How long media came before it failed, in seconds.
        """
        if ran_s >= self._healthy_s:
            self._next_s = self._first_s
        wait_s = self._next_s * (0.5 + 0.5 * self._random())
        self._next_s = min(2 * self._next_s, self._most_s)
        return wait_s
