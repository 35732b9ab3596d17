"""Opus out of RTP (RFC 7587): one Opus packet a payload, clock always 48 kHz."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from domain.media import Codec, TrackParams
from streams.ingest.rtp.g711 import WholePayloadDepayloader

_DOPS = struct.Struct(">BBHIhB")
_PRE_SKIP = 0
"""A live stream is joined at any point: there is no priming to cut off."""


class OpusDepayloader(WholePayloadDepayloader):
    """Opus in one stream of one or two channels.

    Args:
        clock_rate: 48,000 by the RFC.
        channels: As in `a=rtpmap`, by the RFC always 2.
        fmtp: Format parameters; `sprop-stereo` tells what is really in it, and a decoder follows the stream anyway.
    """

    def __init__(self, clock_rate: int, channels: int, fmtp: Mapping[str, str]) -> None:
        del fmtp
        count = channels if channels in {1, 2} else 2
        dops = _DOPS.pack(0, count, _PRE_SKIP, clock_rate, 0, 0)  # Opus in ISO BMFF, 4.3.2: version, mapping family 0
        super().__init__(TrackParams(Codec.OPUS, clock_rate, dops, channels=count))
