"""`storage.low_space`: the device's card is nearly full, or will be before long at the present rate."""

from __future__ import annotations

from typing import Any

from detectors.contract import Context, Step
from detectors.reserve import Levels, State, figures, measured_at, reading, settled
from domain.events import AnyEvent, Telemetry

MIN_FALL_BYTES = 20_000_000
"""What a device writes beside its recordings is no rate."""


class StorageLowSpace:
    """The detector."""

    name = "storage.low_space/1"
    wants = frozenset[type[AnyEvent]]({Telemetry})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        after: State = state
        if isinstance(event, Telemetry):
            after = _read(after, event, context)
        free = None if after.percent is None else round(after.percent, 2)
        after, findings, wake_at = settled(after, "storage.low_space", context, figures(after, free_percent=free))
        return Step(after, findings, wake_at)


def _read(state: State, event: Telemetry, context: Context) -> State:
    at, free, total = measured_at(event), event.storage_free_bytes, event.storage_total_bytes
    if context.is_late(event) or at < state.read_at or free is None:
        return state
    thresholds = context.thresholds
    levels = Levels(
        thresholds.storage_low_percent,
        thresholds.storage_well_percent,
        thresholds.forecast_low_ms,
        thresholds.forecast_well_ms,
    )
    percent = 100 * free / total if total else None
    return reading(state, at, free, percent, levels, min_fall=MIN_FALL_BYTES, expects=True)
