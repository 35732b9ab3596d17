"""H.264 parameter sets (ITU-T H.264, 7.3.2.1) and the avcC made of them (ISO/IEC 14496-15, 5.3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.errors import InvalidMedia
from streams.ingest.rtp.bits import BitReader, unescape

MAX_SIDE_PIXELS: Final = 16_384
_PROFILES_WITH_CHROMA: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR: Final = 255


class Sps(msgspec.Struct, frozen=True):
    """What we need of a sequence parameter set.

    Attributes:
        id: seq_parameter_set_id.
        profile: profile_idc.
        constraints: The octet of constraint flags.
        level: level_idc.
        width: Picture width in pixels, cropped.
        height: Picture height in pixels, cropped.
        chroma_format: chroma_format_idc.
        luma_bits: Bits a luma sample.
        chroma_bits: Bits a chroma sample.
        reorder_frames: How many pictures may precede in decoding and follow in output; None where it does not say.
    """

    id: int
    profile: int
    constraints: int
    level: int
    width: int
    height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int
    reorder_frames: int | None


def parse_sps(nal: bytes) -> Sps:
    """Read a sequence parameter set, NAL header included.

    Raises:
        InvalidMedia: It ends early, or a value is out of its range.
    """
    if len(nal) < 5:
        msg = f"H.264 SPS of {len(nal)} bytes"
        raise InvalidMedia(msg, "sps")
    bits = BitReader(unescape(nal)[1:])
    profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
    sps_id = bits.ue(31)
    chroma_format, luma_bits, chroma_bits = 1, 8, 8
    if profile in _PROFILES_WITH_CHROMA:
        chroma_format, luma_bits, chroma_bits = _chroma(bits)
    _skip_picture_order(bits)
    bits.ue(32)  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    width, height = _size(bits, chroma_format)
    return Sps(
        sps_id, profile, constraints, level, width, height, chroma_format, luma_bits, chroma_bits, _reorder(bits)
    )


def pps_id(nal: bytes) -> int:
    """Return the id of a picture parameter set.

    Raises:
        InvalidMedia: It ends early or its id is out of range.
    """
    return BitReader(unescape(nal)[1:]).ue(255)


def avcc(sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """Build an AVCDecoderConfigurationRecord with 4-byte lengths.

    Args:
        sps: Sequence parameter sets as sent, the first one in force.
        pps: Picture parameter sets as sent.

    Raises:
        InvalidMedia: None of one kind, too many, or the first SPS cannot be read.
    """
    if not (0 < len(sps) <= 31 and 0 < len(pps) <= 255):
        msg = f"{len(sps)} SPS and {len(pps)} PPS"
        raise InvalidMedia(msg, "parameter_set")
    first = parse_sps(sps[0])
    parts = [bytes((1, first.profile, first.constraints, first.level, 0xFF, 0xE0 | len(sps)))]
    parts += [len(nal).to_bytes(2, "big") + nal for nal in sps]
    parts.append(bytes((len(pps),)))
    parts += [len(nal).to_bytes(2, "big") + nal for nal in pps]
    if first.profile in _PROFILES_WITH_CHROMA:
        parts.append(
            bytes((0xFC | first.chroma_format, 0xF8 | (first.luma_bits - 8), 0xF8 | (first.chroma_bits - 8), 0))
        )
    return b"".join(parts)


def _chroma(bits: BitReader) -> tuple[int, int, int]:
    chroma_format = bits.ue(3)
    if chroma_format == 3:
        bits.flag()  # separate_colour_plane_flag
    luma_bits, chroma_bits = 8 + bits.ue(6), 8 + bits.ue(6)
    bits.flag()  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for index in range(12 if chroma_format == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma_format, luma_bits, chroma_bits


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    bits.ue(12)  # log2_max_frame_num_minus4
    kind = bits.ue(2)
    if kind == 0:
        bits.ue(12)
    elif kind == 1:
        bits.flag()
        bits.se()
        bits.se()
        for _ in range(bits.ue(255)):
            bits.se()


def _size(bits: BitReader, chroma_format: int) -> tuple[int, int]:
    width = 16 * (bits.ue(MAX_SIDE_PIXELS // 16) + 1)
    map_units = bits.ue(MAX_SIDE_PIXELS // 16) + 1
    frames_only = bits.flag()
    height = 16 * map_units * (1 if frames_only else 2)
    if not frames_only:
        bits.flag()  # mb_adaptive_frame_field_flag
    bits.flag()  # direct_8x8_inference_flag
    if bits.flag():
        left, right, top, bottom = (bits.ue(MAX_SIDE_PIXELS) for _ in range(4))
        width -= (left + right) * (2 if chroma_format in {1, 2} else 1)
        height -= (top + bottom) * (2 if chroma_format == 1 else 1) * (1 if frames_only else 2)
    if width <= 0 or height <= 0 or max(width, height) > MAX_SIDE_PIXELS:
        msg = f"picture of {width}x{height} pixels"
        raise InvalidMedia(msg, "sps")
    return width, height


def _reorder(bits: BitReader) -> int | None:
    """Find max_num_reorder_frames at the end of the VUI (annex E); an unreadable VUI is no error."""
    try:
        return _vui_reorder(bits) if bits.flag() else None
    except InvalidMedia:
        return None


def _vui_reorder(bits: BitReader) -> int | None:
    _skip_vui_display(bits)
    hrd = 0
    for _ in range(2):
        if bits.flag():
            hrd += 1
            _skip_hrd(bits)
    if hrd:
        bits.flag()  # low_delay_hrd_flag
    bits.flag()  # pic_struct_present_flag
    if not bits.flag():
        return None
    bits.flag()  # motion_vectors_over_pic_boundaries_flag
    for _ in range(4):
        bits.ue(16)
    return bits.ue(16)


def _skip_vui_display(bits: BitReader) -> None:
    if bits.flag() and bits.u(8) == _EXTENDED_SAR:
        bits.u(32)
    if bits.flag():  # overscan
        bits.flag()
    if bits.flag():  # video signal type
        bits.u(4)
        if bits.flag():
            bits.u(24)
    if bits.flag():  # chroma location
        bits.ue(5)
        bits.ue(5)
    if bits.flag():  # timing
        bits.u(65)


def _skip_hrd(bits: BitReader) -> None:
    count = bits.ue(31) + 1
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.flag()
    bits.u(20)
