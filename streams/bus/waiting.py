"""Waiting for records without polling."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes the one task that waits on it. Rung before the wait, it is not lost. Used on the event loop only."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the waiter, now or as soon as it waits."""
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def quiet(self) -> None:
        """Forget earlier rings: what they told of is about to be looked at."""
        self._rung = False

    async def wait(self, timeout_s: float | None) -> bool:
        """Wait for a ring; False when none came within `timeout_s` (for ever where None)."""
        if self._rung:
            return True
        if timeout_s is not None and timeout_s <= 0:
            await asyncio.sleep(0)
            return self._rung
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _resolve, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return self._rung


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
