"""The detectors, in the order in which they speak."""

from __future__ import annotations

from detectors.contract import Detector, Thresholds
from detectors.recorder import Rules
from detectors.recording_gap import RecordingGap
from detectors.recording_stalled import RecordingStalled

ALL: tuple[Detector, ...] = (RecordingStalled(), RecordingGap())


def rules(thresholds: Thresholds | None = None) -> Rules:
    """Return all detectors with these thresholds, or the defaults."""
    return Rules(ALL, thresholds or Thresholds())
