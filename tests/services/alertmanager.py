"""A real Alertmanager that sends at once, and again and again."""

import json
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.services.cache import installed
from tests.services.process import Server, free_port


class AlertmanagerServer(Server):
    """One Alertmanager with one receiver.

    Args:
        directory: Configuration and data.
        webhook: Where every alert is posted to, and repeated within 2 s.
        token: Bearer token that goes along.
        wait: How long it waits for company; where given, each alert is a group of its own, and repeated hourly.
    """

    name = "alertmanager"

    def __init__(self, directory: Path, webhook: str, token: str = "", wait: str = "") -> None:
        super().__init__(directory)
        self.port = free_port()
        self._config = directory / "alertmanager.yml"
        route: dict[str, object] = {
            "receiver": "all",
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1s",
        }
        if wait:
            route |= {"group_wait": wait, "repeat_interval": "1h", "group_by": ["alertname"]}
        hook: dict[str, object] = {"url": webhook, "send_resolved": True}
        if token:
            hook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
        receivers = [{"name": "all", "webhook_configs": [hook]}]
        self._config.write_text(json.dumps({"route": route, "receivers": receivers}))  # JSON is YAML

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            installed("Alertmanager", "prometheus-alertmanager", "alertmanager"),
            f"--config.file={self._config}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.TransportError:
            return False
