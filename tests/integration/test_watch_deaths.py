"""Real processes killed and stopped one after another: the watch, which needs none of them, shows each and its return.

Kafka is there for the roles alone; the watch asks it nothing. Between Prometheus, Alertmanager and the watch stands a
Toxiproxy, so that their way can break while each of them is up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.house import Program
from tests.services.alertmanager import AlertmanagerServer
from tests.services.kafka import KafkaServer
from tests.services.process import Server, free_port, poll_until
from tests.services.prometheus import PrometheusServer
from tests.services.toxiproxy import ToxiproxyServer

RULES = Path(__file__).resolve().parents[2] / "dashboards/prometheus/rules.yml"
EVERY_S, AFTER_S = 0.5, 6.0
SHOWN_S = 120.0
ROLES = ("tick", "custody", "console", "notify")


class Site:
    """What is watched, and the watch."""

    def __init__(self, folder: Path, bootstrap: str, started: ExitStack) -> None:
        self.folder = folder
        self._settings = {
            "LIUHEN_BUS": f"kafka://{bootstrap}",
            "LIUHEN_STORE": f"file:{folder}/store",
            "LIUHEN_CATALOG": f"sqlite:///{folder}/catalog.db",
            "LIUHEN_LEDGER": f"sqlite:///{folder}/ledger.db",
            "LIUHEN_OFFICE": f"sqlite:///{folder}/office.db",
            "LIUHEN_LEDGER_KEY_FILE": f"{folder}/ledger.key",
            "LIUHEN_PARTITIONS": "2",
        }
        self.programs: dict[str, Server] = {}
        self.watch = self._program("watch", free_port(), {})
        for role in ROLES:
            self.programs[role] = started.enter_context(self._program(role, free_port(), {}))

    def _program(self, role: str, port: int, more: Mapping[str, str]) -> Program:
        own = {"LIUHEN_HTTP": f"127.0.0.1:{port}", "LIUHEN_WORK": f"{self.folder}/{role}", "LIUHEN_WORKER_ID": role}
        return Program(self.folder / role, [role], {**self._settings, **own, **more}, port)

    def watched(self, started: ExitStack) -> None:
        """Start the watch on all that are there."""
        urls = {name: f"http://127.0.0.1:{server.port}" for name, server in self.programs.items()}  # type: ignore[attr-defined]
        settings = {
            "LIUHEN_WATCH": ",".join(f"{name}={url}" for name, url in urls.items()),
            "LIUHEN_WATCH_EVERY_S": str(EVERY_S),
            "LIUHEN_WATCH_AFTER_S": str(AFTER_S),
            "LIUHEN_BUS": "kafka://127.0.0.1:1",  # nobody: it needs no log
        }
        assert isinstance(self.watch, Program)
        self.watch = started.enter_context(self._program("watch", self.watch.port, settings))

    def ill(self) -> dict[str, str]:
        """Return the fault of each that is not well."""
        targets = httpx.get(f"http://127.0.0.1:{self.watch.port}/watch", timeout=5).json()["targets"]
        return {one["name"]: one.get("fault", "unknown") for one in targets if one["condition"] != "well"}


@pytest.fixture
def site(
    tmp_path: Path,
    kafka_factory: Callable[..., KafkaServer],
    prometheus_factory: Callable[..., PrometheusServer],
    alertmanager_factory: Callable[..., AlertmanagerServer],
    toxiproxy: ToxiproxyServer,
) -> Iterator[tuple[Site, dict[str, Any]]]:
    with ExitStack() as started:
        one = Site(tmp_path, kafka_factory().bootstrap, started)
        to_watch = toxiproxy.add(f"to-watch-{tmp_path.name}", f"127.0.0.1:{one.watch.port}")
        started.callback(to_watch.remove)
        alertmanager = alertmanager_factory(f"http://{to_watch.address}/watchdog")
        to_alertmanager = toxiproxy.add(f"to-alertmanager-{tmp_path.name}", f"127.0.0.1:{alertmanager.port}")
        started.callback(to_alertmanager.remove)
        prometheus = prometheus_factory([], [RULES], [to_alertmanager.address])
        one.programs |= {"alertmanager": alertmanager, "prometheus": prometheus}
        one.watched(started)
        yield one, {"from alertmanager": to_watch, "from prometheus": to_alertmanager}


def shown(site: Site, name: str, fault: str) -> None:
    """See that the watch shows it in time."""
    poll_until(lambda: site.ill().get(name) == fault, f"{name} is shown as {fault}", SHOWN_S, 0.1)


def well(site: Site) -> None:
    poll_until(lambda: not site.ill(), "all are well", 90, 0.2)


@pytest.mark.timeout(300)
def test_each_that_dies_or_stands_is_shown_and_so_is_its_return(site: tuple[Site, dict[str, Any]]) -> None:
    all_of, ways = site
    well(all_of)
    for name, server in all_of.programs.items():
        server.kill()
        shown(all_of, name, "silent")
        server.start()
        server.pause()  # connections are taken, nobody answers
        shown(all_of, name, "silent")
        server.resume()
        well(all_of)
    all_of.programs["tick"].kill()
    shown(all_of, "custody", "standing")  # it answers, and without ticks there is nothing to get on with
    all_of.programs["tick"].start()
    well(all_of)
    for way in ways.values():  # everybody is up, and alerts do not arrive
        way.disable()
        shown(all_of, "alerts", "standing")
        assert "alertmanager" not in all_of.ill()
        way.enable()
        well(all_of)
