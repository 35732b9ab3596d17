"""Somebody speaking: a sentence in Chinese by a speech synthesiser (espeak-ng), said again and again."""

from __future__ import annotations

from functools import cache
from importlib import resources

import av
import numpy as np
from numpy.typing import NDArray

PAUSE_S = 1.0


def speech(start_s: float, duration_s: float, rate: int) -> NDArray[np.int16]:
    """Return what is heard from `start_s` of the speech on, shape (samples,), int16."""
    said = _sentence(rate)
    first = round(start_s * rate)
    return said[(first + np.arange(round(duration_s * rate))) % len(said)]


@cache
def _sentence(rate: int) -> NDArray[np.int16]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    with resources.files("streams.simulate").joinpath("speech.opus").open("rb") as file, av.open(file, "r") as sound:
        frames = [piece for frame in sound.decode(audio=0) for piece in resampler.resample(frame)]
    spoken = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate([*spoken, np.zeros(round(PAUSE_S * rate), np.int16)]).astype(np.int16)
