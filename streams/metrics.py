"""Figures that several roles give, on the default registry: each may be defined only once in a process."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REJECTED = Counter("liuhen_rejected", "What was not taken, by reason.", ["reason"])
STAGE_SECONDS = Histogram(
    "liuhen_stage_seconds",
    "Time in each stage of the way of a picture.",
    ["stage"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 300, 1800),
)
PROGRESS = Counter(
    "liuhen_progress",
    "Turns of each loop that reads the log; of those that read events, turns in which records came.",
    ["reader"],
)
