"""Figures of the process that runs the detectors, on the default registry."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import Counter, Gauge

from streams.metrics import PROGRESS, REJECTED
from streams.runners.engine import Outcome

EVENTS = Counter("liuhen_detect_events", "Events and ticks counted in, by partition.", ["partition"])
LATE = Counter("liuhen_detect_late", "Events further behind than the lateness: used for gaps and backfill alone.")
REPEATED = Counter("liuhen_detect_repeated", "Events that had been taken in before, and changed nothing.")
OFFSET = Gauge(
    "liuhen_detect_offset", "Last offset counted in, by partition held; its progress is life.", ["partition"]
)
RECORDERS = Gauge("liuhen_detect_recorders", "Recorders known, by partition held.", ["partition"])


def counted(number: int, records: int, outcome: Outcome, recorders: int) -> None:
    """Note a batch that was folded in.

    Args:
        number: Partition.
        records: Events and ticks in it.
        outcome: What it came to.
        recorders: Recorders that the partition has now.
    """
    partition = str(number)
    EVENTS.labels(partition).inc(records)
    PROGRESS.labels("detect").inc()  # Faust reads the log itself
    OFFSET.labels(partition).set(outcome.partition.offset)
    RECORDERS.labels(partition).set(recorders)
    LATE.inc(outcome.late)
    REPEATED.inc(outcome.repeated)
    for bad in outcome.rejected:
        REJECTED.labels(bad.reason).inc()


def lost(number: int) -> None:
    """Forget the gauges of a partition that another process has now."""
    for gauge in (OFFSET, RECORDERS):
        with suppress(KeyError):
            gauge.remove(str(number))
