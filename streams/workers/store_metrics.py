"""Figures of the store worker for Prometheus, on the default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from streams.metrics import REJECTED, STAGE_SECONDS

STORE_SECONDS = STAGE_SECONDS.labels("store")
"""From a segment's close to its announcement."""
SEGMENTS = Counter("liuhen_segments_stored", "Segments stored and announced.")
STORED_BYTES = Counter("liuhen_segment_bytes_stored", "Bytes of segments stored and announced.")
WAITING = Gauge("liuhen_store_waiting_bytes", "Bytes of closed segments that are not in the store yet.")
LAG_SECONDS = Gauge(
    "liuhen_store_lag_seconds", "Age of the record of topic media that is being taken; 0 when there is none."
)
FAILURES = Counter("liuhen_store_failures", "Tries that failed and are repeated, by error.", ["error"])


def count_rejected(reason: str) -> None:
    """Count what was not stored as good."""
    REJECTED.labels(reason).inc()
