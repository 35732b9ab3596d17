"""Where a camera may be: the networks of the setting, by address and not by name.

A look is made by this machine for whoever may register cameras: without bounds they could ask it what stands in
networks that only this machine reaches (server-side request forgery, OWASP ASVS 5.0 V1.3.6). So the name is resolved
here, every address it has must lie in the networks, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from domain.errors import InvalidSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
RESOLVE_S = 3.0


class NotAllowed(Exception):
    """The address lies outside the networks."""


class NotFound(Exception):
    """There is no such name, or nobody says so in time."""


def networks_of(text: str) -> list[Network]:
    """Read the setting.

    Raises:
        InvalidSettings: A part is no network.
    """
    try:
        return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        msg = f"camera_networks: {error}"
        raise InvalidSettings(msg, "camera_networks") from error


async def allowed_address(host: str, port: int, networks: Sequence[Network]) -> str:
    """Return the address to connect to.

    Raises:
        NotAllowed: One of the host's addresses lies outside the networks.
        NotFound: It has none.
    """
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise NotFound(host) from error
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not addresses or not all(_lies_in(address, networks) for address in addresses):
        raise NotAllowed(host)
    return str(addresses[0])


def _lies_in(address: Address, networks: Sequence[Network]) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    inner = mapped or address
    return any(inner.version == network.version and inner in network for network in networks)
