"""From an address to a log."""

from __future__ import annotations

from domain.bus import Bus
from domain.errors import InvalidSettings
from domain.settings import embedded_dir
from streams.bus.embedded import EmbeddedBus
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings

_KAFKA = "kafka://"


def connect(address: str, *, partitions: int, client_id: str) -> Bus:
    """Return the log at an address, not yet started.

    Args:
        address: `embedded:DIR` or `kafka://host:port[,host:port…]`.
        partitions: Partitions of topics that do not exist yet.
        client_id: Name of this process in a broker's logs.

    Raises:
        InvalidSettings: An address of another kind.
    """
    directory = embedded_dir(address, "embedded")
    if directory is not None and directory.parts:
        return EmbeddedBus(directory, partitions=partitions)
    if address.startswith(_KAFKA) and _are_hosts(address.removeprefix(_KAFKA)):
        return KafkaBus(KafkaSettings(address.removeprefix(_KAFKA), client_id), partitions=partitions)
    raise InvalidSettings(f"bus: {address!r} is neither embedded:DIR nor kafka://host:port", "bus")


def _are_hosts(text: str) -> bool:
    pairs = [part.rpartition(":") for part in text.split(",")]
    return all(host and port.isdecimal() and 0 < int(port) < 65_536 for host, _, port in pairs)
