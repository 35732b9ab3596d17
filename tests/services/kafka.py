"""A real Kafka broker: one KRaft node, broker and controller in one JVM."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services.cache import cached, installed, pinned
from tests.services.process import Server, accepts, free_port

_CLUSTER_ID = "bGl1aGVuLXRlc3RzLTAwMQ"  # 16 bytes in URL-safe base64
_MESSAGE_MAX_BYTES = 9 * 1024 * 1024  # the largest record is 8 MiB; the rest is for keys, headers and the batch
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.awt.headless=true")


class KafkaServer(Server):
    """One broker; records up to 8 MiB; topics are made by whoever needs them.

    Args:
        directory: Configuration, log segments and the server's own log file.
        overrides: Broker settings that win over ours.

    A Kafka client follows the address that the broker advertises, so a proxy in between needs a listener of
    its own: let a Toxiproxy listen on `proxied_bootstrap` and forward to `proxied_upstream`.
    """

    name = "kafka"

    def __init__(self, directory: Path, overrides: Mapping[str, str] | None = None) -> None:
        super().__init__(directory)
        self._port, self._controller_port, self._proxied_port, self._proxy_port = (free_port() for _ in range(4))
        self._overrides = dict(overrides or {})
        self._config = directory / "server.properties"

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def proxied_bootstrap(self) -> str:
        """`host:port` for clients that come through a proxy, and where that proxy must listen."""
        return f"127.0.0.1:{self._proxy_port}"

    @property
    def proxied_upstream(self) -> str:
        """Where a proxy must forward to."""
        return f"127.0.0.1:{self._proxied_port}"

    def command(self) -> Sequence[str]:
        if not self._config.exists():
            self._format()
        return self._java("kafka.Kafka", str(self._config))

    def is_ready(self) -> bool:
        if not accepts(self._port):
            return False
        try:
            return bool(self._admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def create_topic(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Makes a topic and waits until the broker says so. `config` takes Kafka's own names."""
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin = self._admin()  # must outlive the answer
        admin.create_topics([wanted])[topic].result(timeout=30)

    def topics(self) -> dict[str, int]:
        """Topic names and their numbers of partitions."""
        listed = self._admin().list_topics(timeout=10).topics
        return {name: len(topic.partitions) for name, topic in listed.items()}

    def _admin(self) -> AdminClient:
        # A client of its own per call: one that lives across kill and restart keeps printing what it lost.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def _java(self, *arguments: str) -> list[str]:
        jars = cached("Kafka", f"kafka-{pinned('KAFKA_VERSION')}/jars")
        logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [installed("Java", "java"), *_JVM, logging, "-cp", f"{jars}/*", *arguments]

    def _format(self) -> None:
        draft = self._config.with_suffix(".draft")
        draft.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        format_command = self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(draft))
        done = subprocess.run(format_command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}")
        draft.rename(self._config)

    def _settings(self) -> dict[str, str]:
        listeners = {
            "PLAINTEXT": self.bootstrap,
            "PROXIED": self.proxied_upstream,
            "CONTROLLER": f"127.0.0.1:{self._controller_port}",
        }
        advertised = {"PLAINTEXT": self.bootstrap, "PROXIED": self.proxied_bootstrap}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": _addresses(listeners),
            "advertised.listeners": _addresses(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            "log.dirs": str(self.directory / "data"),
            "message.max.bytes": str(_MESSAGE_MAX_BYTES),
            "replica.fetch.max.bytes": str(_MESSAGE_MAX_BYTES),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill, the controller fences the broker until the session of its former life is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "background.threads": "2",
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            # Retention can be watched at work: looked at every second, files gone at once.
            "log.retention.check.interval.ms": "1000",
            "log.segment.delete.delay.ms": "0",
            "log.initial.task.delay.ms": "500",
            **self._overrides,
        }


def _addresses(listeners: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in listeners.items())
