"""Prometheus metrics of the fleet, computed from the projection when they are scraped.

There is a series for each recorder that is shown, and none for one that is retired. Until the projection has read what
stood in the log when the console started, only `liuhen_console_ready` 0 is given: no figure is better than a wrong one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dashboards.deadlines import Deadlines
from dashboards.projection import Fleet
from dashboards.recorder import Recorder
from dashboards.view import backlog_eta_s
from domain.clock import Clock, Instant
from policies.local import default

LABELS = ("recorder", "site", "policy")

Value = Callable[[Recorder, Instant], float | None]


def _seconds(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _eta(recorder: Recorder, now: Instant) -> float:
    eta = backlog_eta_s(recorder, now)
    return math.inf if eta is None else eta


GAUGES: dict[str, tuple[str, Value]] = {
    "liuhen_recorder_upload_lag_seconds": (
        "Now minus the capture time of the oldest second not in the store; 0 when all is in.",
        lambda recorder, now: recorder.lag_ms(now) / 1000,
    ),
    "liuhen_recorder_pending_bytes": (
        "Bytes known of and not in the store: fragments taken in, and recordings still on the device.",
        lambda recorder, _now: recorder.pending_bytes,
    ),
    "liuhen_recorder_backlog_eta_seconds": (
        "Pending bytes over the bytes per second stored in the last 5 minutes; +Inf while nothing is stored.",
        _eta,
    ),
    "liuhen_recorder_last_media_timestamp_seconds": (
        "Capture time of the end of the newest media taken in.",
        lambda recorder, _now: _seconds(recorder.media_at),
    ),
    "liuhen_recorder_last_telemetry_timestamp_seconds": (
        "When telemetry was last taken in.",
        lambda recorder, _now: _seconds(recorder.telemetry_at),
    ),
    "liuhen_recorder_battery_ratio": ("Battery charge, 0 to 1.", lambda recorder, _now: recorder.battery_ratio),
    "liuhen_recorder_storage_free_ratio": (
        "Free part of the device's own card, 0 to 1.",
        lambda recorder, _now: recorder.storage_free_ratio,
    ),
    "liuhen_recorder_clock_offset_seconds": (
        "Device clock minus ours, positive when it is fast: median of the last 5 readings, one-way delay included.",
        lambda recorder, _now: recorder.clock_offset_s,
    ),
    "liuhen_recorder_completeness_ratio": (
        "Stored time over recorded time of the sessions that are open, or ended within a day, or not all stored.",
        lambda recorder, _now: recorder.completeness_ratio,
    ),
}


class FleetCollector(Collector):
    """Gives the fleet's metrics to a `CollectorRegistry`.

    Args:
        fleet: The projection.
        clock: The time at which lag is taken.
        ready: Tells whether the projection has caught up.
        deadlines: Store-by times; by the policies of the package alone where absent.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        ready: Callable[[], bool] = lambda: True,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._fleet, self._clock, self._ready = fleet, clock, ready
        self._deadlines = deadlines or Deadlines(default())

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing ahead of time, so that registering reads no state."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Compute every series now."""
        ready = self._ready()
        yield GaugeMetricFamily("liuhen_console_ready", "1 once the console has caught up with the log.", value=ready)
        if not ready:
            return
        recorders = list(self._fleet.shown())
        yield from self._recorders(recorders)
        yield from self._findings(recorders)
        unreadable = self._fleet.state.unreadable
        yield CounterMetricFamily("liuhen_console_unreadable", "Records the console could not read.", value=unreadable)

    def _recorders(self, recorders: list[Recorder]) -> Iterator[GaugeMetricFamily]:
        now = self._clock.now()
        labels = [(recorder.recorder_id, recorder.site_id, recorder.policy) for recorder in recorders]
        for name, (text, value_of) in GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=LABELS)
            for recorder, label in zip(recorders, labels, strict=True):
                value = value_of(recorder, now)
                if value is not None:
                    family.add_metric(label, value)
            yield family
        family = GaugeMetricFamily(
            "liuhen_recorder_deadline_seconds",
            "Seconds until footage of a completed session must be stored, the earliest; negative when it is overdue.",
            labels=LABELS,
        )
        for recorder, label in zip(recorders, labels, strict=True):
            left_s = self._deadlines.seconds_left(recorder, now)
            if left_s is not None:
                family.add_metric(label, left_s)
        yield family

    def _findings(self, recorders: list[Recorder]) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        counts = Counter((f.kind, f.severity) for recorder in recorders for f in recorder.findings.values())
        family = GaugeMetricFamily("liuhen_findings_open", "Open findings.", labels=("kind", "severity"))
        for label, count in sorted(counts.items()):
            family.add_metric(label, count)
        yield family
        total = CounterMetricFamily("liuhen_findings", "Findings opened.", labels=("kind",))
        for kind, count in sorted(self._fleet.state.findings_total.items()):
            total.add_metric((kind,), count)
        yield total
