"""`picture.frozen`: the very same picture again and again, though every sensor has noise.

Where nothing can be seen (covered, or a black night) there is nothing to stand still.

A frozen camera is still encoded anew, and rate control moves between quantisers: the same picture then differs from the
one before by far less than this camera's own noise. Such a small difference speaks for neither side; many in a row,
and no repetition among them, are a view that has become quiet.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step
from detectors.running import Judge, Run, Verdict, is_night
from domain.events import AnyEvent, Observation, SessionEnded
from domain.findings import Figure

BAND = 2.0
"""A picture moves again at so many times the threshold."""
RESTLESS = 0.35
"""Part of the least change of late, below which it is the encoder that moves, and not the picture."""
MAX_RECENT = 16
QUIET_RUN = 15
"""So many of them running are a quiet view."""


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        run: See there.
        recent: The newest changes while nothing stood still.
        small: How many running were too small to speak for either side.
    """

    run: Run = Run()
    recent: tuple[float, ...] = ()
    small: int = 0


class PictureFrozen:
    """The detector."""

    name = "picture.frozen/1"
    wants = frozenset[type[AnyEvent]]({Observation, SessionEnded})
    state_type = State
    _judge = Judge("picture.frozen")

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        thresholds = context.thresholds

        def see(seen: Observation) -> tuple[Verdict, dict[str, Figure], State]:
            verdict = _verdict(seen, thresholds.frozen_change, thresholds.covered_contrast, before)
            return verdict, {"change": seen.change, "luma": seen.luma}, _learnt(before, seen, verdict)

        return self._judge.step(before, event, context, see, hold_ms=thresholds.frozen_after_ms)


def _verdict(seen: Observation, limit: float, blind: float, state: State) -> Verdict:
    if seen.change is None:
        return None
    if seen.change > limit:
        if _is_small(state, seen.change) and state.small < QUIET_RUN:
            return None
        return "good" if seen.change > BAND * limit else "between"
    return None if is_night(seen) or (seen.contrast is not None and seen.contrast < blind) else "bad"


def _is_small(state: State, change: float) -> bool:
    return bool(state.recent) and change < RESTLESS * min(state.recent)


def _learnt(state: State, seen: Observation, verdict: Verdict) -> State:
    if seen.change is None:
        return state
    if verdict is None:
        return msgspec.structs.replace(state, small=state.small + 1)
    small = state.small if _is_small(state, seen.change) and verdict == "good" else 0
    recent = (*state.recent, seen.change)[-MAX_RECENT:] if verdict == "good" else state.recent
    return State(state.run, recent, small)
