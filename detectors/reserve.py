"""A reserve that runs low: shared by the detectors of battery and space.

It is said at once when it is low, or will soon be used up, and is over when the contrary has held for `CALM_MS` without
a break, so that what flaps is said once.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from detectors.contract import Context, Latch, finding
from detectors.trend import Trend
from domain.events import Telemetry
from domain.findings import Figure, Finding, FindingKind

CALM_MS = 20_000


class State(msgspec.Struct, frozen=True):
    """State of such a detector.

    Attributes:
        trend: Of the level.
        latch: Whether it counts as low.
        began: First sign of the finding that is open; 0 for none.
        last_began: Beginning of the latest finding said.
        read_at: When the newest reading was measured.
        bad: It was low.
        good: It was well.
        percent: The level, percent; None where not known.
        left_s: Forecast; None where it does not fall or that is not known.
    """

    trend: Trend = Trend()
    latch: Latch = Latch()
    began: int = 0
    last_began: int = 0
    read_at: int = 0
    bad: bool = False
    good: bool = False
    percent: float | None = None
    left_s: float | None = None


class Levels(NamedTuple):
    """Thresholds of such a detector.

    Attributes:
        low: Percent at which it is low.
        well: Percent from which it is well.
        low_left_ms: Forecast at which it is low.
        well_left_ms: Forecast from which it is well.
    """

    low: float
    well: float
    low_left_ms: int
    well_left_ms: int


def measured_at(event: Telemetry) -> int:
    """Return when telemetry was measured, on our clock: a batch sent late says how late it is."""
    delay = max(0, event.sent_at - event.device_at) if event.sent_at is not None else 0
    return event.at - delay


def reading(
    state: State, at: int, level: float, percent: float | None, levels: Levels, *, min_fall: float, expects: bool
) -> State:
    """Take in a reading.

    Args:
        state: Before it.
        at: When it was measured.
        level: In whatever unit; 0 is used up.
        percent: The same in percent; None where the whole is not known.
        levels: Thresholds.
        min_fall: As for `Trend.add`.
        expects: A forecast counts.
    """
    trend = state.trend.add(at, level, min_fall)
    left_ms = trend.left_ms(level)
    soon = expects and left_ms is not None and left_ms <= levels.low_left_ms
    is_low = percent is not None and percent <= levels.low
    is_well = percent is None or percent >= levels.well
    lasts = left_ms is not None and left_ms >= levels.well_left_ms
    return msgspec.structs.replace(
        state,
        trend=trend,
        read_at=at,
        bad=is_low or soon,
        good=is_well and lasts,
        percent=percent,
        left_s=None if left_ms is None or left_ms == float("inf") else round(left_ms / 1000, 1),
    )


def settled(
    state: State, kind: FindingKind, context: Context, evidence: dict[str, Figure]
) -> tuple[State, list[Finding], int | None]:
    """Judge the newest reading at this moment: new state, what to say, and when to look again."""
    latch = state.latch.turn(bad=state.bad, good=state.good, at=context.now, open_after_ms=0, close_after_ms=CALM_MS)
    findings: list[Finding] = []
    began, last_began = state.began, state.last_began
    if latch.is_open and not state.latch.is_open:
        began = last_began = max(state.read_at, last_began + 1)
        findings.append(finding(context, kind, "opened", began_at=began, session_id=None, evidence=evidence))
    elif state.latch.is_open and not latch.is_open:
        ended = state.latch.since if state.latch.since is not None else context.now
        findings.append(
            finding(context, kind, "closed", began_at=began, ended_at=ended, session_id=None, evidence=evidence)
        )
        began = 0
    wake_at = latch.since + CALM_MS if latch.is_open and latch.since is not None else None
    if latch is state.latch:
        return state, findings, wake_at
    return msgspec.structs.replace(state, latch=latch, began=began, last_began=last_began), findings, wake_at


def figures(state: State, **more: Figure) -> dict[str, Figure]:
    """Return what such a finding rests on."""
    return {**more, "left_s": state.left_s}
