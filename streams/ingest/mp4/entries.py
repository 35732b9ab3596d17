"""Sample entries: what a player must know of a track before its first sample (ISO/IEC 14496-12, -14, -15)."""

from __future__ import annotations

import struct
from typing import Final

from domain.errors import InvalidMedia
from domain.media import Codec, TrackParams
from streams.ingest.mp4.boxes import box, full_box

_SEVENTY_TWO_DPI: Final = 72 << 16
_VIDEO = {Codec.H264: (b"avc1", b"avcC"), Codec.H265: (b"hvc1", b"hvcC")}
_G711 = {Codec.PCMA: b"alaw", Codec.PCMU: b"ulaw"}
"""QuickTime's names; ISO has none for G.711, and FFmpeg, GStreamer and Chromium read these."""


def sample_entry(params: TrackParams) -> bytes:
    """Return the sample entry box of a track.

    Raises:
        InvalidMedia: The decoder configuration is missing.
    """
    if not params.extradata and params.codec not in _G711:
        msg = f"{params.codec}: no decoder configuration"
        raise InvalidMedia(msg, "extradata")
    if params.codec.is_video:
        return _video_entry(params)
    match params.codec:
        case Codec.AAC:
            return _audio_entry(b"mp4a", params, _esds(params.extradata))
        case Codec.OPUS:
            return _audio_entry(b"Opus", params, box(b"dOps", params.extradata))
        case _:
            return _audio_entry(_G711[params.codec], params)


def _video_entry(params: TrackParams) -> bytes:
    kind, configuration = _VIDEO[params.codec]
    fields = struct.pack(
        ">6xH16xHHII4xH32xHh",
        1,  # data reference: this file
        params.width,
        params.height,
        _SEVENTY_TWO_DPI,
        _SEVENTY_TWO_DPI,
        1,  # pictures per sample
        24,  # depth
        -1,  # no colour table
    )
    return box(kind, fields, box(configuration, params.extradata))


def _audio_entry(kind: bytes, params: TrackParams, *configuration: bytes) -> bytes:
    rate = params.clock_rate if params.clock_rate < 1 << 16 else 0
    fields = struct.pack(">6xH8xHH4xI", 1, max(1, params.channels), 16, rate << 16)
    return box(kind, fields, *configuration)


def _esds(audio_specific_config: bytes) -> bytes:
    """Return the elementary stream descriptor of AAC (ISO/IEC 14496-1, 7.2.6; -14, 3.1.2)."""
    decoder = struct.pack(">BBxxxII", 0x40, 0x15, 0, 0) + _descriptor(5, audio_specific_config)
    return full_box(b"esds", 0, 0, _descriptor(3, b"\0\0\0" + _descriptor(4, decoder) + _descriptor(6, b"\x02")))


def _descriptor(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size >= 1 << 14:
        msg = f"decoder configuration of {size} bytes"
        raise InvalidMedia(msg, "extradata")
    return bytes((tag, 0x80 | size >> 7, size & 0x7F)) + body
