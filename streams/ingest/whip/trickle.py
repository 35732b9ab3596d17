"""Candidates that come after the offer (RFC 8840; RFC 9725, 4.3)."""

from __future__ import annotations

from typing import Final

import msgspec
from aiortc import RTCIceCandidate

from streams.ingest.whip.offer import UnreadableOffer, read_candidate, usable

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"
MAX_BYTES: Final = 16_384
_MAX_LINES: Final = 256


class Fragment(msgspec.Struct, frozen=True):
    """What a client sends with `PATCH`.

    Attributes:
        ufrag: ICE generation it belongs to, empty where it does not say.
        candidates: That we can use.
    """

    ufrag: str
    candidates: list[RTCIceCandidate]


def read_fragment(data: bytes) -> Fragment:
    """Read an SDP fragment.

    Raises:
        UnreadableOffer: Not UTF-8, too long, or a candidate that is none.
    """
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        msg = f"not UTF-8: {error}"
        raise UnreadableOffer(msg, "sdpfrag") from error
    if len(lines) > _MAX_LINES:
        msg = f"SDP fragment of {len(lines)} lines"
        raise UnreadableOffer(msg, "sdpfrag")
    if not any(line.startswith("a=") for line in lines):
        msg = "SDP fragment without attributes"
        raise UnreadableOffer(msg, "sdpfrag")
    values = [line.partition(":")[2] for line in lines if line.startswith("a=candidate:")]
    ufrags = [line.partition(":")[2].strip() for line in lines if line.startswith("a=ice-ufrag:")]
    return Fragment(ufrags[0] if ufrags else "", usable(map(read_candidate, values)))
