"""Metrics of the notifier."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

NOTIFICATIONS = Counter(
    "liuhen_notifications",
    "Tries to tell somebody, by kind of channel and result: sent, failed, doubtful, given_up, superseded, nobody.",
    ["channel", "result"],
)
NOTIFICATIONS.labels("none", "nobody")  # shown from the start, so that its first increase is one
NOTIFY_SECONDS = Histogram(
    "liuhen_notify_seconds",
    "From the detection of what began an alert to the first message about it being sent.",
    buckets=(0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800),
)


class Levels(Collector):
    """What is open and what waits, as the notifier last looked.

    Attributes:
        open: Alerts that are not resolved, by state and severity.
        waiting_since: When the oldest entry that should be out by now came, seconds since the epoch.
        now: When that was.
    """

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], int] = {}
        self.waiting_s = 0.0

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing ahead of time."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the series."""
        alerts = GaugeMetricFamily(
            "liuhen_alerts_open", "Alerts that are not resolved, by state and severity.", labels=["state", "severity"]
        )
        for state in ("opened", "acknowledged"):
            for severity in ("critical", "warning", "info"):
                alerts.add_metric([state, severity], self.open.get((state, severity), 0))
        yield alerts
        yield GaugeMetricFamily(
            "liuhen_outbox_oldest_seconds",
            "For how long the oldest message that should be out by now has waited; 0 where none does.",
            value=self.waiting_s,
        )
