"""`picture.blurred`: far less sharp than this recorder's own pictures usually are.

Its own median is that of at most `MAX_SAMPLES` good observations: all of them at first, then every second, fourth …
until one in `EVERY_MS` is kept and the oldest goes. Bad pictures and dark ones are not learnt from.

The variance of the Laplacian grows with the square of contrast, so dim light alone lowers it. A picture counts as
blurred only where its contrast does not account for it. Another view may be softer by itself: a camera that looks
elsewhere is moved, and not blurred.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import msgspec

from detectors.contract import Context, Step
from detectors.picture_moved import looks_elsewhere
from detectors.running import Judge, Run, Verdict, is_night
from domain.events import AnyEvent, Observation, SessionEnded
from domain.findings import Figure

BAND = 4 / 3
"""A picture is good again at so many times the threshold."""
MIN_SAMPLES = 5
MAX_SAMPLES = 64
EVERY_MS = 300_000
UNACCOUNTED = 0.35
"""Sharpness left after contrast is accounted for, as a part of the usual, below which it is blur and not dim light."""


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        run: See there.
        samples: (sharpness, contrast or -1 where unknown) of good observations, ascending in time.
        sampled_at: Capture time of the newest.
        every_ms: Least time between two of them.
        usual: Median sharpness; 0 while too few are known.
        usual_contrast: Median contrast; 0 where not known.
    """

    run: Run = Run()
    samples: tuple[tuple[float, float], ...] = ()
    sampled_at: int = 0
    every_ms: int = 1_000
    usual: float = 0.0
    usual_contrast: float = 0.0


class PictureBlurred:
    """The detector."""

    name = "picture.blurred/1"
    wants = frozenset[type[AnyEvent]]({Observation, SessionEnded})
    state_type = State
    _judge = Judge("picture.blurred")

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        fraction, blind = context.thresholds.blurred_fraction, context.thresholds.covered_contrast

        def see(seen: Observation) -> tuple[Verdict, dict[str, Figure], State]:
            verdict = (
                None if _is_dark(seen, blind) or looks_elsewhere(seen, context) else _verdict(before, seen, fraction)
            )
            evidence: dict[str, Figure] = {"sharpness": seen.sharpness, "usual_sharpness": round(before.usual, 2)}
            learns = verdict == "good" and not before.run.began
            return verdict, evidence, _learnt(before, seen) if learns else before

        return self._judge.step(before, event, context, see)


def _is_dark(seen: Observation, blind: float) -> bool:
    return is_night(seen) or (seen.contrast is not None and seen.contrast < blind)


def _verdict(state: State, seen: Observation, fraction: float) -> Verdict:
    if seen.sharpness is None:
        return None
    if not state.usual:
        return "good"  # nothing to compare with yet
    limit = fraction * state.usual
    if seen.sharpness >= limit:
        return "good" if seen.sharpness >= BAND * limit else "between"
    if seen.contrast is not None and state.usual_contrast:
        by_light = (seen.contrast / state.usual_contrast) ** 2
        if seen.sharpness >= UNACCOUNTED * state.usual * by_light:
            return None  # as sharp as this light allows
    return "bad"


def _learnt(state: State, seen: Observation) -> State:
    at = int(seen.captured_at)
    if seen.sharpness is None or state.sampled_at <= at < state.sampled_at + state.every_ms:
        return state
    samples = (*state.samples, (seen.sharpness, -1.0 if seen.contrast is None else seen.contrast))
    every_ms = state.every_ms
    if len(samples) > MAX_SAMPLES:
        if every_ms < EVERY_MS:
            samples, every_ms = samples[::2], min(2 * every_ms, EVERY_MS)
        else:
            samples = samples[1:]
    contrasts = [contrast for _, contrast in samples if contrast >= 0]
    known = len(samples) >= MIN_SAMPLES
    return State(
        state.run,
        samples,
        at,
        every_ms,
        median(sharpness for sharpness, _ in samples) if known else 0.0,
        median(contrasts) if known and contrasts else 0.0,
    )
