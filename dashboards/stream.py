"""Server-sent events: what changes in the fleet, to every open page. `text/event-stream`, WHATWG HTML § 9.2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from dashboards.projection import Change, Fleet
from dashboards.view import RecorderView, view
from domain.clock import Clock
from domain.errors import Unavailable
from domain.wire import encode

MAX_WATCHERS = 200
MAX_QUEUED = 256
"""Messages one watcher may be behind; then it is cut off, and its browser comes back for a fresh picture."""
GATHER_S = 0.5
"""Changes of recorders within this time become one message."""
KEEPALIVE_S = 15.0


class FleetMessage(msgspec.Struct, frozen=True):
    """The data of `event: fleet`: recorders that changed, as they are now, and ids of those that are gone."""

    recorders: list[RecorderView]
    removed: list[str]


class TooManyWatchers(Unavailable):
    """All places are taken."""


class Hub:
    """Hands out changes. All methods are called on one event loop.

    Args:
        fleet: The projection.
        clock: The time at which lag is taken.
    """

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet, self._clock = fleet, clock
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._changed: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None

    @property
    def watchers(self) -> int:
        """How many are connected."""
        return len(self._watchers)

    def check_room(self) -> None:
        """Tell a newcomer before its answer begins.

        Raises:
            TooManyWatchers: There is no place.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchers(f"{MAX_WATCHERS} pages are open already")

    def publish(self, changes: Sequence[Change]) -> None:
        """Send findings at once, and the recorders they and other changes concern within `GATHER_S`."""
        if not self._watchers:
            return
        for change in changes:
            self._changed.add(change.recorder_id)
            if change.finding is not None:
                self._send(_message("finding", encode(change.finding)))
        if self._flush is None and self._changed:
            self._flush = asyncio.get_running_loop().call_later(GATHER_S, self._send_recorders)

    async def watch(self) -> AsyncIterator[bytes]:
        """Yield messages for one watcher until it goes, is cut off, or the hub closes."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED)
        self._watchers.add(queue)
        try:
            yield b"retry: 1000\n\n"
            while (message := await _next(queue)) is not None:
                yield message
        finally:
            self._watchers.discard(queue)

    def close(self) -> None:
        """End every stream."""
        if self._flush is not None:
            self._flush.cancel()
        for queue in list(self._watchers):
            self._cut_off(queue)

    def _send_recorders(self) -> None:
        self._flush, changed, self._changed = None, self._changed, set()
        now = self._clock.now()
        known = [found for name in sorted(changed) if (found := self._fleet.recorders.get(name)) is not None]
        removed = sorted(changed - {recorder.recorder_id for recorder in known})
        self._send(_message("fleet", encode(FleetMessage([view(recorder, now) for recorder in known], removed))))

    def _send(self, message: bytes) -> None:
        for queue in list(self._watchers):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._cut_off(queue)

    def _cut_off(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._watchers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


async def _next(queue: asyncio.Queue[bytes | None]) -> bytes | None:
    try:
        return await asyncio.wait_for(queue.get(), KEEPALIVE_S)
    except TimeoutError:
        return b": still here\n\n"


def _message(name: str, data: bytes) -> bytes:
    """Frame one line of JSON (which holds no line breaks)."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
