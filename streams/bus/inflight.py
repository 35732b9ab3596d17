"""Room for records on their way: bounded bytes, first come first served, and nobody waits longer than agreed."""

from __future__ import annotations

import asyncio
from collections import deque

from domain.bus import Position
from domain.errors import BusUnavailable

RECORD_BYTES = 256
"""What a record takes in memory beside its bytes."""


class InFlight:
    """Counts what has been handed over and not been acknowledged. Used on one event loop.

    Args:
        limit_bytes: Most that may be on its way; a single larger record goes alone.
        timeout_s: How long a publisher waits, for room and for its acknowledgement each.
    """

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._bytes = 0
        self._acknowledging: deque[tuple[float, asyncio.Future[Position]]] = deque()  # bounded by the bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # callers asleep: they cannot call again
        self._timer: asyncio.TimerHandle | None = None

    def full(self, size_bytes: int) -> bool:
        """Whether a record must wait for room: `wait` then, before `enter`."""
        return bool(self._waiting) or (self._bytes > 0 and self._bytes + size_bytes > self._limit_bytes)

    async def wait(self, size_bytes: int) -> None:
        """Wait in line for room.

        Raises:
            BusUnavailable: None came in time.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, waiter))
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter
        except TimeoutError:
            raise BusUnavailable(f"{self._bytes} bytes are not acknowledged; no room came in time") from None
        finally:
            self._waiting.remove((size_bytes, waiter))
            if waiter.cancelled():
                self._let_in()

    def enter(self, size_bytes: int) -> asyncio.Future[Position]:
        """Take room for a record, and return what its publisher awaits."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Position] = loop.create_future()
        self._bytes += size_bytes
        self._acknowledging.append((loop.time() + self._timeout_s, done))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s / 4, self._give_up_late)
        return done

    def settle(self, done: asyncio.Future[Position], size_bytes: int, outcome: Position | BusUnavailable) -> None:
        """Give room back, and tell the publisher if it is still there."""
        self._bytes -= size_bytes
        if not done.done():
            if isinstance(outcome, BusUnavailable):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)
        while self._acknowledging and self._acknowledging[0][1].done():
            self._acknowledging.popleft()
        if self._waiting:
            self._let_in()

    def close(self) -> None:
        """Tell everyone who still waits that nothing will come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gone = BusUnavailable("the log was closed")
        for _, done in self._acknowledging:
            if not done.done():
                done.set_exception(gone)
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(gone)

    def _let_in(self) -> None:
        """Wake as many as there is room for; they take it when they run, in the same order."""
        taken_bytes = self._bytes
        for size_bytes, waiter in self._waiting:
            if taken_bytes and taken_bytes + size_bytes > self._limit_bytes:
                return
            taken_bytes += size_bytes
            if not waiter.done():
                waiter.set_result(None)

    def _give_up_late(self) -> None:
        """Tell publishers whose time is over. Their records may still be written."""
        self._timer = None
        loop = asyncio.get_running_loop()
        queue = self._acknowledging
        while queue and (queue[0][0] <= loop.time() or queue[0][1].done()):
            _, done = queue.popleft()
            if not done.done():
                done.set_exception(BusUnavailable(f"no acknowledgement within {self._timeout_s:g} s"))
        if queue:
            self._timer = loop.call_later(self._timeout_s / 4, self._give_up_late)
