"""The services of the tests. Each starts when first asked for and is gone when the run ends, however it ends."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker shared by the whole run: name topics and groups uniquely, and do not kill it."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def kafka_factory(tmp_path: Path) -> Iterator[Callable[..., KafkaServer]]:
    """`kafka_factory(overrides=None)` starts a broker of the test's own, to kill and pause."""
    with ExitStack() as started:

        def start(overrides: Mapping[str, str] | None = None) -> KafkaServer:
            directory = tmp_path / f"kafka-{len(list(tmp_path.glob('kafka-*')))}"
            return started.enter_context(KafkaServer(directory, overrides))

        yield start


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """An S3 server shared by the whole run: name buckets uniquely, and do not kill it."""
    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
def minio_factory(tmp_path: Path) -> Iterator[Callable[[], MinioServer]]:
    """`minio_factory()` starts a server of the test's own, to kill and pause."""
    with ExitStack() as started:

        def start() -> MinioServer:
            directory = tmp_path / f"minio-{len(list(tmp_path.glob('minio-*')))}"
            return started.enter_context(MinioServer(directory))

        yield start
