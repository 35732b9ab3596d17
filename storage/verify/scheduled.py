"""The check that runs by itself: everything, again and again, at a pace that leaves the store to those who record.

Its faults go to the log as `integrity` events, its figures to Prometheus. A check that a restart has cut off goes on
where it was; when the next one begins depends on when the last one ended, not on when the process started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import Counter, Gauge

from domain.clock import Clock, Instant
from domain.events import Integrity
from storage.verify.fault import Fault
from storage.verify.verifier import Rest, Scope, Verifier

FAULTS = Gauge("liuhen_verify_faults", "Faults that the last whole check of evidence and ledger has found.")
LAST_SUCCESS = Gauge("liuhen_verify_last_success_timestamp_seconds", "When a whole check last ended, and all held.")
OBJECTS = Counter("liuhen_verify_objects", "Objects that were checked.")
BYTES = Counter("liuhen_verify_bytes", "Their bytes.")

MAX_KEY_CHARS = 200
LOOK_EVERY_S = 60.0
"""How often to ask whether a check is due."""

_log = logging.getLogger(__name__)

Tell = Callable[[Integrity], Awaitable[None]]
Make = Callable[[Rest], Verifier]


class Scheduled:
    """See the module.

    Args:
        make: Makes a verifier that rests as it is told.
        tell: Puts an event on the log.
        clock: For events and for when it is time.
        folder: Where the state is kept between restarts.
        every_s: Pause between two checks.
        bytes_per_s: Most that is read on average; no limit where 0.
    """

    def __init__(self, make: Make, tell: Tell, clock: Clock, folder: Path, *, every_s: float, bytes_per_s: int) -> None:
        self._make = make
        self._tell = tell
        self._clock = clock
        self._state = folder / "verify-scheduled.state"
        self._ended = folder / "verify-scheduled.ended"
        self._every_ms = round(every_s * 1000)
        self._bytes_per_s = bytes_per_s
        self._next_s = 0.0

    async def run_if_due(self) -> None:
        """Check everything, if the last check ended `every_s` ago or was cut off.

        Raises:
            Unavailable: The store or the ledger is away, or the log did not take an event; call it again.
        """
        if self._state.exists() or self._clock.now() >= self._last_end().plus(self._every_ms):
            await self.run()

    async def run(self) -> int:
        """Check everything once; return the number of faults.

        Raises:
            Unavailable: As for `run_if_due`.
        """
        self._next_s = self._clock.monotonic()
        verifier = self._make(self._rest)
        async for fault in verifier.run(Scope(), self._state, resume=True):
            _log.error("verify: %s", fault)
            await self._tell(event_of(fault, self._clock.now()))
        found = verifier.summary
        FAULTS.set(found.faults)
        OBJECTS.inc(found.objects)
        for name, why in found.unreached.items():
            _log.warning("verify: checkpoints in %s were not compared: %s", name, why)
        if not found.faults and not found.unreached:
            LAST_SUCCESS.set(self._clock.now() / 1000)
        await asyncio.to_thread(self._ended.write_text, str(self._clock.now()))
        return found.faults

    async def _rest(self, size: int) -> None:
        """Wait until the bytes read so far are no more than the pace allows."""
        BYTES.inc(size)
        if not self._bytes_per_s:
            return
        now = self._clock.monotonic()
        self._next_s = max(now, self._next_s + size / self._bytes_per_s)
        await asyncio.sleep(self._next_s - now)

    def _last_end(self) -> Instant:
        with contextlib.suppress(OSError, ValueError):
            return Instant.parse(self._ended.read_text())
        return Instant(0)


def event_of(fault: Fault, at: Instant) -> Integrity:
    """Return the event that says a fault on the log."""
    key = fault.where[:MAX_KEY_CHARS]
    return Integrity(at=at, recorder_id=fault.recorder_id, key=key, fault=fault.event_fault)
