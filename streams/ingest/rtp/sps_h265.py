"""H.265 parameter sets (ITU-T H.265, 7.3.2) and the hvcC made of them (ISO/IEC 14496-15, 8.3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.errors import InvalidMedia
from streams.ingest.rtp.bits import BitReader, unescape
from streams.ingest.rtp.sps import MAX_SIDE_PIXELS

VPS_TYPE: Final = 32
SPS_TYPE: Final = 33
PPS_TYPE: Final = 34


class HevcSps(msgspec.Struct, frozen=True):
    """What we need of a sequence parameter set.

    Attributes:
        id: sps_seq_parameter_set_id.
        profile: 12 octets of general profile, tier, compatibility, constraints and level, as they stand in hvcC.
        width: Picture width in pixels, the conformance window taken off.
        height: Picture height in pixels, likewise.
        chroma_format: chroma_format_idc.
        luma_bits: Bits a luma sample.
        chroma_bits: Bits a chroma sample.
        temporal_layers: sps_max_sub_layers.
        temporal_nesting: sps_temporal_id_nesting_flag.
        reorder_frames: sps_max_num_reorder_pics of the highest layer.
    """

    id: int
    profile: bytes
    width: int
    height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int
    temporal_layers: int
    temporal_nesting: bool
    reorder_frames: int


def parse_sps(nal: bytes) -> HevcSps:
    """Read a sequence parameter set, NAL header included.

    Raises:
        InvalidMedia: It ends early, or a value is out of its range.
    """
    bits = BitReader(unescape(nal)[2:])
    bits.u(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)
    if sub_layers > 6:
        msg = f"{sub_layers + 1} temporal layers"
        raise InvalidMedia(msg, "sps")
    nesting = bits.flag()
    profile = bits.u(96).to_bytes(12, "big")
    _skip_sub_layers(bits, sub_layers)
    sps_id = bits.ue(15)
    chroma_format = bits.ue(3)
    if chroma_format == 3:
        bits.flag()
    width, height = _size(bits, chroma_format)
    luma_bits, chroma_bits = 8 + bits.ue(8), 8 + bits.ue(8)
    bits.ue(12)  # log2_max_pic_order_cnt_lsb_minus4
    reorder = 0
    for _ in range(sub_layers + 1 if bits.flag() else 1):
        bits.ue(16)
        reorder = bits.ue(16)
        bits.ue()
    return HevcSps(
        sps_id, profile, width, height, chroma_format, luma_bits, chroma_bits, sub_layers + 1, nesting, reorder
    )


def set_id(nal: bytes, kind: int) -> int:
    """Return the id of a parameter set of type `kind` (VPS, SPS or PPS).

    Raises:
        InvalidMedia: It ends early or its id is out of range.
    """
    if kind == SPS_TYPE:
        return parse_sps(nal).id
    bits = BitReader(unescape(nal)[2:])
    return bits.u(4) if kind == VPS_TYPE else bits.ue(63)


def hvcc(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """Build an HEVCDecoderConfigurationRecord with 4-byte lengths.

    Args:
        vps: Video parameter sets as sent.
        sps: Sequence parameter sets as sent, the first one in force.
        pps: Picture parameter sets as sent.

    Raises:
        InvalidMedia: None of one kind, or the first SPS cannot be read.
    """
    if not (vps and sps and pps):
        msg = f"{len(vps)} VPS, {len(sps)} SPS and {len(pps)} PPS"
        raise InvalidMedia(msg, "parameter_set")
    first = parse_sps(sps[0])
    head = bytes((1,)) + first.profile
    head += (0xF000).to_bytes(2, "big")  # min_spatial_segmentation_idc: not known
    head += bytes((0xFC, 0xFC | first.chroma_format, 0xF8 | (first.luma_bits - 8), 0xF8 | (first.chroma_bits - 8)))
    head += bytes(2)  # avgFrameRate: not known
    head += bytes(((first.temporal_layers << 3) | (first.temporal_nesting << 2) | 3, 3))
    return head + _array(VPS_TYPE, vps) + _array(SPS_TYPE, sps) + _array(PPS_TYPE, pps)


def _array(kind: int, nals: Sequence[bytes]) -> bytes:
    return bytes((kind,)) + len(nals).to_bytes(2, "big") + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def _skip_sub_layers(bits: BitReader, sub_layers: int) -> None:
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)


def _size(bits: BitReader, chroma_format: int) -> tuple[int, int]:
    width, height = bits.ue(MAX_SIDE_PIXELS), bits.ue(MAX_SIDE_PIXELS)
    if bits.flag():
        left, right, top, bottom = (bits.ue(MAX_SIDE_PIXELS) for _ in range(4))
        width -= (left + right) * (2 if chroma_format in {1, 2} else 1)
        height -= (top + bottom) * (2 if chroma_format == 1 else 1)
    if width <= 0 or height <= 0:
        msg = f"picture of {width}x{height} pixels"
        raise InvalidMedia(msg, "sps")
    return width, height
