"""`power.low_battery`: the battery is low, or will be empty before long while a session is open; not while charging."""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step
from detectors.reserve import Levels, State, figures, measured_at, reading, settled
from detectors.trend import Trend
from domain.events import AnyEvent, Telemetry

MIN_FALL_PERCENT = 3.0
"""Devices tell whole percents, and some of them fives: a fall is believed from so many on."""


class PowerLowBattery:
    """The detector."""

    name = "power.low_battery/1"
    wants = frozenset[type[AnyEvent]]({Telemetry})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        after: State = state
        if isinstance(event, Telemetry):
            after = _read(after, event, context)
        after, findings, wake_at = settled(
            after, "power.low_battery", context, figures(after, battery_percent=after.percent)
        )
        return Step(after, findings, wake_at)


def _read(state: State, event: Telemetry, context: Context) -> State:
    at = measured_at(event)
    if context.is_late(event) or at < state.read_at:
        return state
    if event.charging:
        percent = event.battery_percent if event.battery_percent is not None else state.percent
        return msgspec.structs.replace(
            state, trend=Trend(), read_at=at, bad=False, good=True, percent=percent, left_s=None
        )
    if event.battery_percent is None:
        return state
    thresholds = context.thresholds
    levels = Levels(
        thresholds.battery_low_percent,
        thresholds.battery_well_percent,
        thresholds.forecast_low_ms,
        thresholds.forecast_well_ms,
    )
    return reading(
        state,
        at,
        event.battery_percent,
        event.battery_percent,
        levels,
        min_fall=MIN_FALL_PERCENT,
        expects=any(session.phase != "ended" for session in context.knowledge.sessions.values()),
    )
