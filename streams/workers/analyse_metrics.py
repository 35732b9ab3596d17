"""Figures of the analysis worker for Prometheus, on the default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from streams.metrics import STAGE_SECONDS

ANALYSE_SECONDS = STAGE_SECONDS.labels("analyse")
"""From a fragment's arrival on the log to its observation."""
KEYFRAMES = Counter("liuhen_analysis_keyframes", "Keyframes decoded and looked at.")
HEARD = Counter("liuhen_analysis_sound_seconds", "Seconds of sound whose level was measured.")
SKIPPED = Counter(
    "liuhen_analysis_skipped",
    "Fragments that should have been looked at and were not: there was no time, or they stood in a backlog.",
    ["reason"],
)
UNDECODABLE = Counter(
    "liuhen_analysis_undecodable", "Fragments that could not be decoded, or over which a process died.", ["reason"]
)
UNPUBLISHED = Counter("liuhen_analysis_unpublished", "Observations that the log did not take.")
WAITING = Gauge("liuhen_analysis_waiting", "Fragments waiting to be looked at.")
