"""How the WHIP service behaves, and where the settings say so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.settings import Settings
from streams.ingest.whip.addresses import read_addresses, read_ports


class WhipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the service behaves.

    Attributes:
        hosts: Addresses to offer, `public=private` behind NAT; all of the machine's where empty.
        ports: UDP ports to use; any free ones where None.
        max_sessions: Recorders that may publish at once.
        silent_after_s: Without an authentic packet for so long, a peer is taken for gone.
        connect_within_s: ICE and DTLS must be through by then.
        linger_s: How long a session opened by media alone waits for a recorder whose connection was lost.
    """

    hosts: Sequence[str] = ()
    ports: range | None = None
    max_sessions: int = 64
    silent_after_s: float = 10.0
    connect_within_s: float = 15.0
    linger_s: float = 60.0


def options_from(settings: Settings) -> WhipOptions:
    """Take what the settings say of WHIP.

    Raises:
        InvalidSettings: `ice_hosts` or `ice_ports` cannot be read.
    """
    return WhipOptions(
        hosts=read_addresses(settings.ice_hosts),
        ports=read_ports(settings.ice_ports),
        max_sessions=settings.whip_max_sessions,
        silent_after_s=settings.whip_silent_s,
        linger_s=settings.whip_linger_s,
    )
