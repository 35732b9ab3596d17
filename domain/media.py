"""Media between the network and the fragment: codecs, track parameters, access units.

Nothing here decodes. A video access unit carries its NAL units exactly as sent, each behind a 4-byte big-endian
length (ISO/IEC 14496-15), because that is how they are stored; an audio access unit is one raw frame.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.clock import Instant


class Codec(StrEnum):
    """What a track is coded in; the value stands in the `codec` field of fragment events."""

    H264 = "h264"
    H265 = "h265"
    AAC = "aac"
    PCMA = "pcma"
    PCMU = "pcmu"
    OPUS = "opus"

    @property
    def is_video(self) -> bool:
        """Whether tracks of this codec carry pictures."""
        return self is Codec.H264 or self is Codec.H265


class TrackParams(msgspec.Struct, frozen=True, gc=False):
    """What a decoder must know before the first access unit.

    Attributes:
        codec: Coding of the track.
        clock_rate: Ticks per second of `AccessUnit.pts` (90,000 for video).
        extradata: ISO BMFF decoder configuration: avcC or hvcC body, AudioSpecificConfig, dOps body; empty for G.711.
        width: Coded picture width in pixels, 0 for sound.
        height: Coded picture height in pixels, 0 for sound.
        channels: Sound channels, 0 for pictures.
    """

    codec: Codec
    clock_rate: int
    extradata: bytes = b""
    width: int = 0
    height: int = 0
    channels: int = 0


class AccessUnit(msgspec.Struct, gc=False):
    """One coded picture, or one sound frame, as the sender made it.

    Attributes:
        track: Index of the track in its feed (order of the SDP's media sections).
        params: Parameters in force for this unit. The same object runs on while nothing changes, so that `is` tells.
        pts: Presentation time in ticks of `params.clock_rate`, unwrapped from the 32-bit RTP timestamp; counts on over
            wraps and never jumps by itself. Units of one track are in decoding order; pts may go back (B-frames).
        data: Bytes of the unit, see the module's docstring.
        keyframe: IDR, or HEVC IRAP: decoding can start here. Always True for sound.
        captured_at: Wall-clock capture time by the feed's clock mapping.
        arrived_at: Wall-clock time at which its last packet came in.
        lost_packets: RTP packets found missing since the unit before it on this track.
        damaged: Packets of this very unit are missing; its bytes are what did arrive.
    """

    track: int
    params: TrackParams
    pts: int
    data: bytes
    keyframe: bool
    captured_at: Instant
    arrived_at: Instant
    lost_packets: int = 0
    damaged: bool = False
