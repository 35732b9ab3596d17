"""A short look at a camera's address, for whoever registers it: what it sends, and its first picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

Trouble = Literal[
    "", "not_allowed", "unreachable", "unauthorized", "refused", "not_rtsp", "no_media", "codec", "no_picture", "busy"
]
"""Why a look failed; empty: it did not. Little is said on purpose: who may ask must learn of cameras, not of networks.

not_allowed: outside the networks that cameras may be in; unreachable: no connection, or no answer in time;
unauthorized: user or password; refused: it answers, and says no; not_rtsp: what answers is no RTSP server; no_media:
it plays, and nothing comes; codec: nothing of what it offers is taken; no_picture: pictures come that cannot be
decoded; busy: others are being looked at."""


class ProbeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at.

    Attributes:
        url: RTSP address, with credentials where needed. Secret.
        transport: How to pull RTP.
        tls_sha256: Certificate that an rtsps camera must show.
    """

    url: str
    transport: Literal["tcp", "udp"] = "tcp"
    tls_sha256: str | None = None

    def __repr__(self) -> str:
        return "ProbeRequest(…)"


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen.

    Attributes:
        trouble: Why it failed; empty where pictures came.
        codec: Of the pictures.
        width: Of the pictures, pixels.
        height: Of the pictures, pixels.
        fps: Pictures a second, over the time it was looked at; 0 where too few came.
        bits_per_s: Bits a second of pictures and sound.
        audio: Codec of the sound; empty: none.
        clock_offset_s: The camera's clock − ours, by its sender reports (RFC 3550 §6.4.1); None where it sends none.
        picture: The first picture, JPEG; empty: none.
    """

    trouble: Trouble = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bits_per_s: int = 0
    audio: str = ""
    clock_offset_s: float | None = None
    picture: bytes = b""


Probe = Callable[[ProbeRequest], Awaitable[ProbeResult]]
"""Looks at an address, within ten seconds; raises InvalidInput where it is none."""
