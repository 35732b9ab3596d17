"""The services of the tests. Each starts when first asked for and is gone when the run ends, however it ends.

Those of the whole run are shared: name topics, groups, buckets and databases uniquely, and neither kill nor
pause them. The factories start one of the test's own, with which it may do as it likes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.services.alertmanager import AlertmanagerServer
from tests.services.browser import Browser
from tests.services.gstreamer import GstRtspServer
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.postgres import PostgresServer
from tests.services.process import Server
from tests.services.prometheus import PrometheusServer
from tests.services.samples import RECIPES, Samples
from tests.services.toxiproxy import ToxiproxyServer

_MARKERS = {
    "kafka": "kafka",
    "kafka_factory": "kafka",
    "minio": "minio",
    "minio_factory": "minio",
    "postgres": "postgres",
    "prometheus_factory": "prometheus",
    "alertmanager_factory": "prometheus",
    "toxiproxy": "faults",
    "gst_rtsp": "gstreamer",
    "gst_rtsp_factory": "gstreamer",
    "browser": "browser",
    "browser_factory": "browser",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a service carries its marker, so that `make test-unit` leaves out all who do."""
    for item in items:
        asked = _MARKERS.keys() & set(getattr(item, "fixturenames", ()))
        for marker in sorted({_MARKERS[fixture] for fixture in asked}):
            item.add_marker(marker)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker of the whole run."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """An S3 server of the whole run."""
    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the whole run: `postgres.create_database(name)` gives an address."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    """A Toxiproxy of the whole run: `toxiproxy.add(name, upstream)` gives a proxy."""
    with ToxiproxyServer(tmp_path_factory.mktemp("toxiproxy")) as server:
        yield server


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Sample recordings: `samples.get("small")`."""
    return Samples()


@pytest.fixture(scope="session")
def gst_rtsp(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> Iterator[GstRtspServer]:
    """Every sample as a camera, each client from its start: `gst_rtsp.url("/small")`."""
    mounts = {f"/{name}": samples.get(name).pipeline() for name in RECIPES}
    with GstRtspServer(tmp_path_factory.mktemp("gst-rtsp"), mounts) as server:
        yield server


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium of the whole run, with fake camera and autoplay: `browser.driver` is selenium's."""
    with Browser(tmp_path_factory.mktemp("browser")) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a server of the given class in a folder of its own, and stops it when the test ends."""
    numbers = count()
    with ExitStack() as started:

        def start(kind: Callable[..., Server], *arguments: object, **named: object) -> Server:
            return started.enter_context(kind(tmp_path / f"server-{next(numbers)}", *arguments, **named))

        yield start


@pytest.fixture
def kafka_factory(own: Callable[..., Any]) -> Callable[..., KafkaServer]:
    """`kafka_factory(overrides=None)`: a running broker to kill, pause and restart."""
    return partial(own, KafkaServer)


@pytest.fixture
def minio_factory(own: Callable[..., Any]) -> Callable[..., MinioServer]:
    """`minio_factory()`: a running S3 server to kill, pause and restart."""
    return partial(own, MinioServer)


@pytest.fixture
def prometheus_factory(own: Callable[..., Any]) -> Callable[..., PrometheusServer]:
    """`prometheus_factory(targets, rules=(), alertmanagers=())`: a running Prometheus that scrapes `host:port`s."""
    return partial(own, PrometheusServer)


@pytest.fixture
def alertmanager_factory(own: Callable[..., Any]) -> Callable[..., AlertmanagerServer]:
    """`alertmanager_factory(webhook)`: a running Alertmanager that posts every alert there."""
    return partial(own, AlertmanagerServer)


@pytest.fixture
def gst_rtsp_factory(own: Callable[..., Any]) -> Callable[..., GstRtspServer]:
    """`gst_rtsp_factory(mounts, shared=False, auth=None, tls=None)`: a running camera to kill and pause."""
    return partial(own, GstRtspServer)


@pytest.fixture
def browser_factory(own: Callable[..., Any]) -> Callable[..., Browser]:
    """`browser_factory(size=…, fake_camera=…, autoplay=…, arguments=…)`: a running Chromium."""
    return partial(own, Browser)
