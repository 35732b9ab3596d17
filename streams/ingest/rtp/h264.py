"""H.264 out of RTP (RFC 6184): single NAL units, STAP-A and FU-A; STAP-B and FU-B in sending order."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Final

from domain.errors import InvalidMedia
from domain.media import Codec, TrackParams
from streams.ingest.rtp import sps as h264_sps
from streams.ingest.rtp.depayload import MAX_UNIT_BYTES, CodedUnit, Middle
from streams.ingest.rtp.packet import Buffer
from streams.ingest.rtp.video import CLOSED, VideoAssembler

_IDR: Final = 5
_SPS: Final = 7
_PPS: Final = 8
_AUD: Final = 9
_STAP_A: Final = 24
_STAP_B: Final = 25
_FU_A: Final = 28
_FU_B: Final = 29
_START: Final = 0x80
_END: Final = 0x40
_NOTHING: Final[tuple[CodedUnit, ...]] = ()


class H264Depayloader(VideoAssembler):
    """Packetization modes 0 and 1; of mode 2 what needs no reordering by decoding order number.

    Args:
        clock_rate: RTP clock, ticks per second.
        fmtp: Format parameters; `sprop-parameter-sets` is used where it is there.
    """

    middle: Middle | None = Middle(0x1FC00000, _FU_A << 24, 2)

    def __init__(self, clock_rate: int, fmtp: Mapping[str, str]) -> None:
        super().__init__(clock_rate)
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}
        self._learn_out_of_band(split_sprop(fmtp.get("sprop-parameter-sets", "")))

    def push(self, data: Buffer, start: int, end: int, timestamp: int, marker: int) -> Sequence[CodedUnit]:
        """Take one payload; see `Depayloader.push`."""
        if timestamp != self._timestamp:
            self._begin(timestamp)
        if start >= end:
            self.counters.empty_payloads += 1
        else:
            kind = data[start] & 31
            if kind == _FU_A and end - start > 2:
                # Nearly all packets are the middle of a fragmented NAL unit: this way is kept short.
                if data[start + 1] & 0xC0 or self._nal_start < 0 or len(self._unit) > MAX_UNIT_BYTES:
                    self._push_fragment(data, start, end, start + 2)
                else:
                    self._unit += data[start + 2 : end]
            else:
                self._push_other(kind, data, start, end)
        if marker:
            self._marked = True
        return self._take() if self._ready else _NOTHING

    def _push_other(self, kind: int, data: Buffer, start: int, end: int) -> None:
        if 0 < kind < _STAP_A:
            first_slice_byte = data[start + 1] if end - start > 1 else 0
            self._boundary(kind, first_slice_byte)
            self._add_nal(data, start, end, kind, first_slice_byte)
        elif kind == _STAP_A:
            self._push_aggregate(data, start + 1, end)
        elif kind == _STAP_B:
            self._push_aggregate(data, start + 3, end)
        elif kind == _FU_B and end - start > 4:
            self._push_fragment(data, start, end, start + 4)
        else:
            self._reject(f"H.264 payload of type {kind}")

    def _push_aggregate(self, data: Buffer, at: int, end: int) -> None:
        while at + 2 <= end:
            size = (data[at] << 8) | data[at + 1]
            at += 2
            if at + size > end:
                self._reject("H.264 aggregate with a NAL unit beyond its end")
                return
            if size == 0:
                self.counters.empty_payloads += 1
                continue
            kind = data[at] & 31
            first_slice_byte = data[at + 1] if size > 1 else 0
            self._boundary(kind, first_slice_byte)
            self._add_nal(data, at, at + size, kind, first_slice_byte)
            at += size
        if at != end:
            self._reject("H.264 aggregate with a byte left over")

    def _push_fragment(self, data: Buffer, start: int, end: int, body: int) -> None:
        header = data[start + 1]
        kind = header & 31
        if header & _START:
            first_slice_byte = data[body] if body < end else 0
            self._boundary(kind, first_slice_byte)
            self._open_nal(bytes(((data[start] & 0xE0) | kind,)), kind, first_slice_byte)
        elif self._nal_start < 0:
            self._orphan()
        if self._nal_start >= 0:
            self._extend_nal(data, body, end)
        if header & _END:
            if self._nal_start >= 0:
                self._close_nal(kind)
            self._nal_start = CLOSED

    def _extend_nal(self, data: Buffer, body: int, end: int) -> None:
        if len(self._unit) > MAX_UNIT_BYTES:
            self._cut_unit()
        else:
            self._unit += data[body:end]

    def _kind_of(self, nal: bytes) -> int:
        return nal[0] & 31

    def _is_picture(self, kind: int) -> bool:
        return 1 <= kind <= _IDR

    def _is_keyframe(self, kind: int) -> bool:
        return kind == _IDR

    def _is_set(self, kind: int) -> bool:
        return kind in {_SPS, _PPS}

    def _is_delimiter(self, kind: int) -> bool:
        return kind == _AUD

    def _learn_set(self, kind: int, nal: bytes) -> bool:
        if kind == _SPS:
            known, number = self._sps, h264_sps.parse_sps(nal).id
        elif kind == _PPS:
            known, number = self._pps, h264_sps.pps_id(nal)
        else:
            msg = f"NAL unit of type {kind} among the parameter sets"
            raise InvalidMedia(msg, "sprop-parameter-sets")
        if known.get(number) == nal:
            return False
        known.pop(number, None)
        known[number] = nal
        return True

    def _describe(self) -> TrackParams | None:
        if not (self._sps and self._pps):
            return None
        # The newest comes first: it is the one the next pictures use.
        sets = list(reversed(self._sps.values()))
        sps = h264_sps.parse_sps(sets[0])
        extradata = h264_sps.avcc(sets[:31], list(self._pps.values())[-255:])
        return TrackParams(Codec.H264, self._clock_rate, extradata, sps.width, sps.height)


def split_sprop(text: str) -> list[bytes]:
    """Decode a comma-separated list of NAL units in base64; what is no base64 is left out."""
    nals = []
    for part in text.split(","):
        try:
            nal = b64decode(part.strip() + "=" * (-len(part.strip()) % 4))
        except (binascii.Error, ValueError):
            continue
        nals.append(_without_start_code(nal))
    return [nal for nal in nals if len(nal) > 1]


def _without_start_code(nal: bytes) -> bytes:
    """Some cameras leave an Annex B start code in front, or zero bytes behind."""
    if nal.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        nal = nal[nal.index(1) + 1 :]
    return nal.rstrip(b"\x00")
