"""Figures of the copy off site for Prometheus, on the default registry."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import Counter, Gauge

from domain.clock import Instant

WAITING = Gauge("liuhen_offsite_waiting_segments", "Segments that are not copied to the second store.")
OLDEST = Gauge("liuhen_offsite_lag_seconds", "Age of the oldest of them; 0 where there is none.")
SEGMENTS = Counter("liuhen_offsite_segments", "Segments copied, read back and found the same.")
BYTES = Counter("liuhen_offsite_bytes", "Their bytes.")
DROPPED = Counter("liuhen_offsite_dropped", "Copies deleted after the ledger's receipt.")
FAULTS = Counter("liuhen_offsite_faults", "Objects that were not what was stored, in either store.")
LAST_TURN = Gauge("liuhen_offsite_timestamp_seconds", "When a turn last came to its end.")


class _State(Protocol):
    @property
    def waiting(self) -> int: ...

    @property
    def oldest_at(self) -> Instant | None: ...


def show(state: _State, now: Instant) -> None:
    """Show how the copy stands."""
    WAITING.set(state.waiting)
    OLDEST.set(0 if state.oldest_at is None else max(0, now - state.oldest_at) / 1000)
    LAST_TURN.set(now / 1000)
