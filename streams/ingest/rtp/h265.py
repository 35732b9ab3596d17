"""H.265 out of RTP (RFC 7798): single NAL units, aggregation packets, fragmentation units, PACI passed through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from domain.errors import InvalidMedia
from domain.media import Codec, TrackParams
from streams.ingest.rtp import sps_h265
from streams.ingest.rtp.depayload import MAX_UNIT_BYTES, CodedUnit, Middle
from streams.ingest.rtp.h264 import split_sprop
from streams.ingest.rtp.packet import Buffer
from streams.ingest.rtp.video import CLOSED, VideoAssembler

_AUD: Final = 35
_AP: Final = 48
_FU: Final = 49
_PACI: Final = 50
_START: Final = 0x80
_END: Final = 0x40
_NOTHING: Final[tuple[CodedUnit, ...]] = ()


class H265Depayloader(VideoAssembler):
    """Single stream transmission (SRST), with or without decoding order numbers, in sending order.

    Args:
        clock_rate: RTP clock, ticks per second.
        fmtp: Format parameters; `sprop-vps`, `sprop-sps`, `sprop-pps` and `sprop-max-don-diff` are used.
    """

    def __init__(self, clock_rate: int, fmtp: Mapping[str, str]) -> None:
        super().__init__(clock_rate)
        self._known: dict[int, dict[int, bytes]] = {sps_h265.VPS_TYPE: {}, sps_h265.SPS_TYPE: {}, sps_h265.PPS_TYPE: {}}
        self._don_bytes = 2 if fmtp.get("sprop-max-don-diff", "0").strip() not in {"", "0"} else 0
        self.middle = Middle(0x7E00C000, _FU << 25, 3 + self._don_bytes)
        for name in ("sprop-vps", "sprop-sps", "sprop-pps"):
            self._learn_out_of_band(split_sprop(fmtp.get(name, "")))

    def push(self, data: Buffer, start: int, end: int, timestamp: int, marker: int) -> Sequence[CodedUnit]:
        """Take one payload; see `Depayloader.push`."""
        if timestamp != self._timestamp:
            self._begin(timestamp)
        if end - start < 2:
            self.counters.empty_payloads += 1
        else:
            kind = (data[start] >> 1) & 63
            if kind == _FU and end - start > 3:
                # Nearly all packets are the middle of a fragmented NAL unit: this way is kept short.
                if data[start + 2] & 0xC0 or self._nal_start < 0 or len(self._unit) > MAX_UNIT_BYTES:
                    self._push_fragment(data, start, end)
                else:
                    self._unit += data[start + 3 + self._don_bytes : end]
            else:
                self._push_other(kind, data, start, end)
        if marker:
            self._marked = True
        return self._take() if self._ready else _NOTHING

    def _push_other(self, kind: int, data: Buffer, start: int, end: int) -> None:
        if kind < _AP and self._don_bytes:
            self._push_single_with_don(data, start, end)
        elif kind < _AP:
            self._push_nal(data, start, end)
        elif kind == _AP:
            self._push_aggregate(data, start + 2, end)
        elif kind == _PACI:
            self._push_paci(data, start, end)
        else:
            self._reject(f"H.265 payload of type {kind}")

    def _push_nal(self, data: Buffer, start: int, end: int) -> None:
        kind = (data[start] >> 1) & 63
        first_slice_byte = data[start + 2] if end - start > 2 else 0
        self._boundary(kind, first_slice_byte)
        self._add_nal(data, start, end, kind, first_slice_byte)

    def _push_single_with_don(self, data: Buffer, start: int, end: int) -> None:
        if end - start < 5:
            self._reject("H.265 NAL unit shorter than its decoding order number")
            return
        nal = bytes(data[start : start + 2]) + bytes(data[start + 4 : end])
        self._push_nal(nal, 0, len(nal))

    def _push_aggregate(self, data: Buffer, at: int, end: int) -> None:
        at += self._don_bytes
        while at + 2 <= end:
            size = (data[at] << 8) | data[at + 1]
            at += 2
            if at + size > end:
                self._reject("H.265 aggregate with a NAL unit beyond its end")
                return
            if size < 2:
                self.counters.empty_payloads += 1
            else:
                self._push_nal(data, at, at + size)
            at += size + (1 if self._don_bytes and at + size < end else 0)  # one octet of DOND between NAL units
        if at != end:
            self._reject("H.265 aggregate with a byte left over")

    def _push_paci(self, data: Buffer, start: int, end: int) -> None:
        """Take the payload out of a PACI packet; its extension is about error resilience only (section 4.4.4)."""
        if end - start < 5:
            self._reject("H.265 PACI packet too short")
            return
        fields = (data[start + 2] << 8) | data[start + 3]
        inner, extension_bytes = (fields >> 9) & 63, (fields >> 4) & 31
        body = start + 4 + extension_bytes
        if inner == _PACI or body >= end:
            self._reject("H.265 PACI packet without a payload")
            return
        # The A bit stands where the F bit of the NAL unit inside must go; layer and temporal ids are the outer ones.
        header = bytes(((data[start + 2] & 0x80) | (inner << 1) | (data[start] & 1), data[start + 1]))
        payload = header + bytes(data[body:end])
        if inner == _FU and len(payload) > 3:
            self._push_fragment(payload, 0, len(payload))
        else:
            self._push_other(inner, payload, 0, len(payload))

    def _push_fragment(self, data: Buffer, start: int, end: int) -> None:
        header = data[start + 2]
        kind = header & 63
        body = start + 3 + self._don_bytes
        if header & _START:
            first_slice_byte = data[body] if body < end else 0
            self._boundary(kind, first_slice_byte)
            self._open_nal(bytes(((data[start] & 0x81) | (kind << 1), data[start + 1])), kind, first_slice_byte)
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
        return (nal[0] >> 1) & 63

    def _is_picture(self, kind: int) -> bool:
        return kind < sps_h265.VPS_TYPE

    def _is_keyframe(self, kind: int) -> bool:
        return 16 <= kind <= 23

    def _is_set(self, kind: int) -> bool:
        return sps_h265.VPS_TYPE <= kind <= sps_h265.PPS_TYPE

    def _is_delimiter(self, kind: int) -> bool:
        return kind == _AUD

    def _learn_set(self, kind: int, nal: bytes) -> bool:
        known = self._known.get(kind)
        if known is None:
            msg = f"NAL unit of type {kind} among the parameter sets"
            raise InvalidMedia(msg, "sprop")
        number = sps_h265.set_id(nal, kind)
        if known.get(number) == nal:
            return False
        known.pop(number, None)
        known[number] = nal
        return True

    def _describe(self) -> TrackParams | None:
        vps, sps, pps = (list(reversed(sets.values())) for sets in self._known.values())
        if not (vps and sps and pps):
            return None
        first = sps_h265.parse_sps(sps[0])
        return TrackParams(Codec.H265, self._clock_rate, sps_h265.hvcc(vps, sps, pps), first.width, first.height)
