"""What a session description says of a track, and the depayloader that fits it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from domain.errors import InvalidMedia
from domain.media import Codec
from streams.ingest.rtp.aac import AacDepayloader
from streams.ingest.rtp.depayload import Depayloader
from streams.ingest.rtp.g711 import G711Depayloader
from streams.ingest.rtp.h264 import H264Depayloader
from streams.ingest.rtp.h265 import H265Depayloader
from streams.ingest.rtp.opus import OpusDepayloader

_CODECS = {
    "H264": Codec.H264,
    "H265": Codec.H265,
    "HEVC": Codec.H265,
    "MPEG4-GENERIC": Codec.AAC,
    "PCMA": Codec.PCMA,
    "PCMU": Codec.PCMU,
    "OPUS": Codec.OPUS,
}


class MediaFormat(msgspec.Struct, frozen=True):
    """One payload type of one media section (`a=rtpmap`, `a=fmtp`).

    Attributes:
        payload_type: 0 to 127.
        codec: What it is coded in.
        clock_rate: RTP clock, ticks per second.
        channels: Sound channels; 0 for pictures.
        fmtp: Format parameters, names in lower case.
    """

    payload_type: int
    codec: Codec
    clock_rate: int
    channels: int = 0
    fmtp: Mapping[str, str] = {}


def codec_of(encoding: str) -> Codec | None:
    """Return the codec of an `a=rtpmap` encoding name in any case, None where we do not take it."""
    return _CODECS.get(encoding.upper())


def depayloader_for(media: MediaFormat) -> Depayloader:
    """Make the depayloader of a format.

    Raises:
        InvalidMedia: Format parameters that cannot be used: no AAC configuration, a packetization mode nobody sends.
    """
    if not 1000 <= media.clock_rate <= 1_000_000:
        msg = f"RTP clock of {media.clock_rate} Hz"
        raise InvalidMedia(msg, "rtpmap")
    match media.codec:
        case Codec.H264:
            return H264Depayloader(media.clock_rate, media.fmtp)
        case Codec.H265:
            return H265Depayloader(media.clock_rate, media.fmtp)
        case Codec.AAC:
            return AacDepayloader(media.clock_rate, media.channels, media.fmtp)
        case Codec.OPUS:
            return OpusDepayloader(media.clock_rate, media.channels, media.fmtp)
        case _:
            return G711Depayloader(media.codec, media.clock_rate, media.channels)
