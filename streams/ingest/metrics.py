"""Figures of ingest for Prometheus, on the default registry. Label values come from fixed lists only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from streams.metrics import REJECTED, STAGE_SECONDS

FRAGMENTS = Counter("liuhen_fragments", "Fragments cut and spooled.")
MEDIA_BYTES = Counter("liuhen_media_bytes", "Bytes of fragments spooled, by the way they came.", ["path"])
SPOOL_BYTES = Gauge("liuhen_spool_bytes", "Bytes waiting on local disk for the log.")

RECEIVE_TO_FRAGMENT = STAGE_SECONDS.labels("receive_to_fragment")
SPOOL_TO_ACK = STAGE_SECONDS.labels("spool_to_ack")

REASONS: Final = frozenset(
    {
        "before_keyframe",
        "camera_failed",
        "journal_corrupt",
        "loss",
        "journal_failed",
        "oversize",
        "packet",
        "registration",
        "spool_corrupt",
        "spool_full",
        "unaccepted",
        "undescribed",
        "unsupported",
        "worker_failed",
    }
)
_PATHS: Final = frozenset({"rtsp", "whip"})


def count_rejected(reason: str, amount: int = 1) -> None:
    """Count what was not taken; a reason that is not of the list counts as `other`."""
    REJECTED.labels(reason if reason in REASONS else "other").inc(amount)


def count_fragment(path: str, size_bytes: int) -> None:
    """Count a fragment."""
    FRAGMENTS.inc()
    MEDIA_BYTES.labels(path if path in _PATHS else "other").inc(size_bytes)


def watch_spool(waiting_bytes: Callable[[], float]) -> None:
    """Let the gauge ask the spool when it is scraped."""
    SPOOL_BYTES.set_function(waiting_bytes)
