"""`clock.drift`: the device's clock is not ours.

A reading is the device's clock when it sent, less ours when it came; the way between makes every device look slow by
the one-way delay, so the median of the recorder's own delays is taken out. What cannot be a delay (negative, or more
than `LONGEST_DELAY_MS`) is no delay, or a clock that was always wrong would be its own measure.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, seconds
from domain.events import AnyEvent, Telemetry
from domain.findings import Finding

READINGS = 3
MAX_DELAYS = 31
LONGEST_DELAY_MS = 2_000


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        delays: One-way delays of the newest readings, milliseconds.
        count: Readings running that may change it: bad ones while closed, good ones while open.
        since: When the first of them came.
        began: Beginning of the drift that is open; 0 for none.
        device_at: Device clock of the newest reading; 0 before any.
        came_at: When that came.
    """

    delays: tuple[int, ...] = ()
    count: int = 0
    since: int = 0
    began: int = 0
    device_at: int = 0
    came_at: int = 0


class ClockDrift:
    """The detector."""

    name = "clock.drift/1"
    wants = frozenset[type[AnyEvent]]({Telemetry})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        if not isinstance(event, Telemetry) or context.is_late(event):
            return Step(before)
        findings: list[Finding] = []
        usable = event.sent_at is not None or not _is_batch(before, event)
        after = msgspec.structs.replace(before, device_at=int(event.device_at), came_at=int(event.at))
        if usable:
            after = _read(after, event, context, findings)
        return Step(after, findings)


def _is_batch(state: State, event: Telemetry) -> bool:
    """Tell whether a reading without `sent_at` was kept back: the device's time ran on and ours did not."""
    if not state.device_at:
        return False
    passed_there, passed_here = event.device_at - state.device_at, event.at - state.came_at
    return passed_there > 2 * passed_here + 1_000 and event.device_at < event.at


def _read(state: State, event: Telemetry, context: Context, findings: list[Finding]) -> State:
    offset = (event.sent_at if event.sent_at is not None else event.device_at) - event.at
    if 0 <= -offset <= LONGEST_DELAY_MS:
        state = msgspec.structs.replace(state, delays=(*state.delays, -offset)[-MAX_DELAYS:])
    drift = offset + (round(median(state.delays)) if state.delays else 0)
    thresholds = context.thresholds
    counts = abs(drift) <= thresholds.clock_well_ms if state.began else abs(drift) > thresholds.clock_drift_ms
    if not counts:
        return msgspec.structs.replace(state, count=0, since=0)
    since = state.since if state.count else int(event.at)
    if state.count + 1 < READINGS:
        return msgspec.structs.replace(state, count=state.count + 1, since=since)
    opens = not state.began
    findings.append(
        finding(
            context,
            "clock.drift",
            "opened" if opens else "closed",
            began_at=since if opens else state.began,
            ended_at=None if opens else since,
            session_id=None,
            evidence={"offset_s": seconds(drift)},
        )
    )
    return msgspec.structs.replace(state, count=0, since=0, began=since if opens else 0)
