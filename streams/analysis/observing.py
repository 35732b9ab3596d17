"""From what a child saw and heard to an `observation` event. Pure but for the memory it is given."""

from __future__ import annotations

import msgspec

from domain.clock import Instant
from domain.events import Fragment, Observation
from streams.analysis.scene import Memory, see
from streams.analysis.wire import Seen


def observe(event: Fragment, seen: Seen, memory: Memory, at: Instant) -> Observation | None:
    """Say what a fragment showed; None where it showed nothing.

    Args:
        event: Of the fragment; it is the window.
        seen: The answer about it.
        memory: Of its recorder; changed.
        at: Now.
    """
    if seen.picture is None and seen.sound is None:
        return None
    observation = Observation(
        at=at,
        recorder_id=event.recorder_id,
        session_id=event.session_id,
        captured_at=event.captured_at,
        window_s=event.duration_s,
    )
    if seen.picture is not None:
        figures = see(memory, seen.picture, int(event.captured_at))
        observation = msgspec.structs.replace(
            observation,
            luma=round(seen.picture.luma, 2),
            contrast=round(seen.picture.contrast, 2),
            sharpness=round(figures.sharpness, 2),
            change=_rounded(figures.change, 6),
            scene_shift=_rounded(figures.scene_shift, 4),
        )
    if seen.sound is not None:
        observation = msgspec.structs.replace(observation, audio_dbfs=seen.sound.dbfs, speech_s=seen.sound.speech_s)
    return observation


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
