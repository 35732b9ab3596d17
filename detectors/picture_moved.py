"""`picture.moved`: a fixed camera no longer looks where it did. A camera on a body moves all the time."""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step
from detectors.running import Judge, Run, Verdict, is_night
from domain.events import AnyEvent, Observation, SessionEnded
from domain.findings import Figure

BAND = 0.8
"""It looks there again at so much of the threshold."""
FIXED = frozenset({"premises_camera", "room_camera"})


class State(msgspec.Struct, frozen=True):
    """State of the detector: a run."""

    run: Run = Run()


class PictureMoved:
    """The detector."""

    name = "picture.moved/1"
    wants = frozenset[type[AnyEvent]]({Observation, SessionEnded})
    state_type = State
    _judge = Judge("picture.moved")

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        fixed = _is_fixed(context)
        thresholds = context.thresholds

        def see(seen: Observation) -> tuple[Verdict, dict[str, Figure], State]:
            verdict = _verdict(seen, thresholds.moved_shift, thresholds.covered_contrast) if fixed else None
            return verdict, {"scene_shift": seen.scene_shift}, before

        return self._judge.step(before, event, context, see)


def _is_fixed(context: Context) -> bool:
    registration = context.knowledge.registration
    return registration is not None and registration.kind in FIXED


def looks_elsewhere(seen: Observation, context: Context) -> bool:
    """Tell whether a fixed camera shows another view than it usually does."""
    return seen.scene_shift is not None and seen.scene_shift > context.thresholds.moved_shift and _is_fixed(context)


def _verdict(seen: Observation, limit: float, blind: float) -> Verdict:
    if seen.scene_shift is None:
        return None
    if seen.scene_shift <= limit:
        return "good" if seen.scene_shift <= BAND * limit else "between"
    return None if is_night(seen) or (seen.contrast is not None and seen.contrast < blind) else "bad"
