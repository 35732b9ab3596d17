"""What the watch gives to Prometheus, which watches it in turn."""

from __future__ import annotations

from prometheus_client import Gauge

BEAT = Gauge(
    "liuhen_watch_beat_timestamp_seconds",
    "When the newest alert that came by the way of alerts was evaluated; 0 if none.",
)
ILL = Gauge("liuhen_watch_ill", "1 while a target of the watch is dead or stands.", ["target"])
