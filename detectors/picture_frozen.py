"""`picture.frozen`: the very same picture again and again, though every sensor has noise.

Where nothing can be seen (covered, or a black night) there is nothing to stand still.
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


class State(msgspec.Struct, frozen=True):
    """State of the detector: a run."""

    run: Run = Run()


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
            verdict = _verdict(seen, thresholds.frozen_change, thresholds.covered_contrast)
            return verdict, {"change": seen.change, "luma": seen.luma}, before

        return self._judge.step(before, event, context, see, hold_ms=thresholds.frozen_after_ms)


def _verdict(seen: Observation, limit: float, blind: float) -> Verdict:
    if seen.change is None:
        return None
    if seen.change > limit:
        return "good" if seen.change > BAND * limit else "between"
    return None if is_night(seen) or (seen.contrast is not None and seen.contrast < blind) else "bad"
