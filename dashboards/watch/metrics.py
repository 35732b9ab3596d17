"""What the watch gives to Prometheus, which watches it in turn."""

from __future__ import annotations

from prometheus_client import Gauge

ILL = Gauge("liuhen_watch_ill", "1 while a target of the watch is dead or stands.", ["target"])
