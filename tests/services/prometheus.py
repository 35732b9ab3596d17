"""A real Prometheus that scrapes once a second."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.services.cache import installed
from tests.services.process import Server, free_port, poll_until


class PrometheusServer(Server):
    """One Prometheus on given targets.

    Args:
        directory: Configuration and data.
        targets: `host:port` of what is scraped, at `/metrics`.
        rules: Rule files, evaluated once a second.
        alertmanagers: `host:port` of those that get its alerts.
    """

    name = "prometheus"

    def __init__(
        self, directory: Path, targets: Sequence[str], rules: Sequence[Path] = (), alertmanagers: Sequence[str] = ()
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._config = directory / "prometheus.yml"
        # JSON is YAML, and needs no library.
        self._config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rule) for rule in rules],
                    "scrape_configs": [{"job_name": "liuhen", "static_configs": [{"targets": list(targets)}]}],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
                }
            )
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """An instant query: the labels and the value of each series."""
        result = self._get("/api/v1/query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def wait_for(self, expression: str, timeout_s: float = 15) -> list[tuple[dict[str, str], float]]:
        """Polls until the query has an answer, and returns it."""
        poll_until(lambda: bool(self.query(expression)), f"Prometheus has {expression}", timeout_s, 0.2)
        return self.query(expression)

    def targets(self) -> dict[str, str]:
        """`host:port` of each target and its health: up, down or unknown."""
        active = self._get("/api/v1/targets")["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in active}

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts pending or firing now, as Prometheus's API gives them."""
        return list(self._get("/api/v1/alerts")["alerts"])

    def command(self) -> Sequence[str]:
        return [
            installed("Prometheus", "prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--rules.alert.resend-delay=1s",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.TransportError:
            return False

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}{path}", params=parameters, timeout=10).raise_for_status().json()
        data: dict[str, Any] = answer["data"]
        return data
