"""`picture.covered`: something stands before the lens, and next to nothing can be seen.

A picture without contrast that is dark may also be a dark night. A hand or a piece of tape comes between two
observations, dusk does not: where contrast went away little by little and the picture is dark, it is night. A camera
that is heard of for the first time in the dark has shown nothing of how it came to that: by night it is night, and if
nothing is to be seen by day either, it is covered.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step
from detectors.running import Judge, Run, Verdict, is_night
from domain.events import AnyEvent, Observation, SessionEnded
from domain.findings import Figure

BAND = 1.5
"""A picture is good again at so many times the threshold."""
CLEAR = 2.0
"""From so many times the threshold on, much could be seen."""
SUDDEN_MS = 60_000
"""From seeing much to seeing nothing: faster than any dusk."""
HOUR_MS = 3_600_000
CHINA_MS = 8 * HOUR_MS
DARK_FROM_H = 17
DARK_TO_H = 9
"""Hours of China time between which it may be dark outside, wherever in China; all of it keeps the same time."""


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        run: See there.
        clear_at: When much was seen last, by capture time; 0 for never.
        dim: Something was seen since then that was neither much nor next to nothing.
        blind: Next to nothing is seen.
        dusk: It came to that little by little.
    """

    run: Run = Run()
    clear_at: int = 0
    dim: bool = False
    blind: bool = False
    dusk: bool = False


class PictureCovered:
    """The detector."""

    name = "picture.covered/1"
    wants = frozenset[type[AnyEvent]]({Observation, SessionEnded})
    state_type = State
    _judge = Judge("picture.covered")

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        limit = context.thresholds.covered_contrast

        def see(seen: Observation) -> tuple[Verdict, dict[str, Figure], State]:
            memory = _light(before, seen, limit)
            return _verdict(seen, limit, memory), {"contrast": seen.contrast, "luma": seen.luma}, memory

        return self._judge.step(before, event, context, see)


def _light(state: State, seen: Observation, limit: float) -> State:
    """Note how contrast comes and goes."""
    if seen.contrast is None:
        return state
    at = int(seen.captured_at)
    if seen.contrast >= CLEAR * limit:
        return State(state.run, at)
    if seen.contrast >= limit:
        return State(state.run, state.clear_at, dim=True)
    if state.blind:
        return state  # how it came is decided
    gradual = state.dim and at - state.clear_at > SUDDEN_MS  # never clear is long ago
    return State(state.run, state.clear_at, state.dim, blind=True, dusk=gradual)


def _verdict(seen: Observation, limit: float, memory: State) -> Verdict:
    if seen.contrast is None:
        return None
    if seen.contrast < limit:
        return "between" if is_night(seen) and (memory.dusk or _began_dark(memory, seen)) else "bad"
    return "good" if seen.contrast >= BAND * limit else "between"


def _began_dark(memory: State, seen: Observation) -> bool:
    """Tell whether nothing was ever seen of a camera, and it may well be night."""
    if memory.clear_at or memory.dim:
        return False
    hour = (seen.captured_at + CHINA_MS) // HOUR_MS % 24
    return hour >= DARK_FROM_H or hour < DARK_TO_H
