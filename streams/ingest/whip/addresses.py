"""Where peers reach us: addresses that differ behind NAT, and the UDP ports that a firewall lets through."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from domain.errors import InvalidSettings


class Address(NamedTuple):
    """One address.

    Attributes:
        own: What a socket is bound to.
        shown: What peers are told; another one where NAT stands between, which maps it and its ports one to one.
    """

    own: str
    shown: str

    @classmethod
    def read(cls, text: str) -> Address:
        """Read `address`, or `public=private`.

        Raises:
            InvalidSettings: One side of a pair is no IP address, or they are of different versions.
        """
        shown, between, own = (part.strip() for part in text.partition("="))
        if not between:
            return cls(shown, shown)
        try:
            if ipaddress.ip_address(shown).version == ipaddress.ip_address(own).version:
                return cls(own, shown)
            why = "one is IPv4 and the other IPv6"
        except ValueError as error:
            why = str(error)
        msg = f"ice_hosts: {text.strip()!r}: {why}"
        raise InvalidSettings(msg, "ice_hosts")


def read_addresses(text: str) -> list[str]:
    """Split the setting `ice_hosts`, and check each part.

    Raises:
        InvalidSettings: As `Address.read`.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        Address.read(part)
    return parts


def read_ports(text: str) -> range | None:
    """Read the setting `ice_ports`, `first-last`; None where it is empty.

    Raises:
        InvalidSettings: It is no range of unprivileged ports.
    """
    if not text:
        return None
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1) if first.isdigit() and last.isdigit() else range(0)
    if not ports or ports[0] < 1024 or ports[-1] > 65_535:
        msg = f"ice_ports: {text!r} is not first-last within 1024 and 65535"
        raise InvalidSettings(msg, "ice_ports")
    return ports
