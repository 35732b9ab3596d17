"""From an address to a log."""

from __future__ import annotations

from domain.bus import Bus
from domain.errors import InvalidSettings
from domain.settings import embedded_dir
from streams.bus.embedded import EmbeddedBus


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
    raise InvalidSettings(f"bus: {address!r} is neither embedded:DIR nor kafka://host:port", "bus")
