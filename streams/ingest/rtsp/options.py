"""How a camera is pulled."""

from __future__ import annotations

from typing import Literal

import msgspec

from streams.ingest.rtp.reorder import ReorderLimits

Transport = Literal["tcp", "udp"]


class RtspOptions(msgspec.Struct, frozen=True):
    """Settings of one pull.

    Attributes:
        transport: How to ask for RTP first; where the server refuses (461), the other one is tried.
        connect_timeout_s: Longest wait for the connection.
        response_timeout_s: Longest wait for each answer.
        first_media_timeout_s: Longest wait for the first access unit after PLAY.
        silence_timeout_s: Longest wait for the next one.
        max_redirects: So many are followed.
        tls_verify: Whether an rtsps server's certificate must be valid; cameras mostly sign their own.
        tls_sha256: SHA-256 (hex) of the certificate that it must show, which then need not be valid.
        user_agent: What we call ourselves.
        address: Connect to this address, which the host's name was found to be; to the host itself where empty.
        follows_source: Whether RTP over UDP may come from, and feedback go to, another machine that the server names.
        reorder: Waiting for packets over UDP.
    """

    transport: Transport = "tcp"
    connect_timeout_s: float = 5.0
    response_timeout_s: float = 5.0
    first_media_timeout_s: float = 5.0
    silence_timeout_s: float = 10.0
    max_redirects: int = 4
    tls_verify: bool = True
    tls_sha256: str | None = None
    user_agent: str = "Liuhen"
    address: str = ""
    follows_source: bool = True
    reorder: ReorderLimits = ReorderLimits()
