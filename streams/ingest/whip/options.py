"""How the WHIP service behaves, and where the settings say so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.settings import Settings


class WhipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the service behaves.

    Attributes:
        hosts: Addresses to offer; all of the machine's where empty.
        max_sessions: Recorders that may publish at once.
        silent_after_s: Without an authentic packet for so long, a peer is taken for gone.
        connect_within_s: ICE and DTLS must be through by then.
        linger_s: How long a session opened by media alone waits for a recorder whose connection was lost.
    """

    hosts: Sequence[str] = ()
    max_sessions: int = 64
    silent_after_s: float = 10.0
    connect_within_s: float = 15.0
    linger_s: float = 60.0


def options_from(settings: Settings) -> WhipOptions:
    """Take what the settings say of WHIP."""
    return WhipOptions(
        hosts=[host.strip() for host in settings.ice_hosts.split(",") if host.strip()],
        max_sessions=settings.whip_max_sessions,
        silent_after_s=settings.whip_silent_s,
        linger_s=settings.whip_linger_s,
    )
