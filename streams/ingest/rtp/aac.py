"""AAC out of RTP (RFC 3640, modes AAC-hbr and AAC-lbr): several access units a packet, or one in several packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from domain.errors import InvalidMedia
from domain.media import Codec, TrackParams
from streams.ingest.rtp.bits import BitReader
from streams.ingest.rtp.depayload import CodedUnit, DepayloadCounters, Middle
from streams.ingest.rtp.packet import Buffer

_MAX_AU_BYTES: Final = 65_536
_MAX_CONFIG_BYTES: Final = 512
_MASK: Final = 0xFFFFFFFF


class AacDepayloader:
    """AAC frames without interleaving.

    Args:
        clock_rate: RTP clock, the sampling rate of the sound.
        channels: As in `a=rtpmap`; 0 takes what the configuration says.
        fmtp: Format parameters: `config` is needed; `sizelength`, `indexlength`, `indexdeltalength`, `constantsize`,
            `constantduration` are used.

    Raises:
        InvalidMedia: `config` is missing or unreadable, or a length is out of range.
    """

    unit_complete = False
    middle: Middle | None = None

    def __init__(self, clock_rate: int, channels: int, fmtp: Mapping[str, str]) -> None:
        config = _config(fmtp)
        spoken_rate, config_channels, frame_samples = parse_audio_specific_config(config)
        self._params = TrackParams(Codec.AAC, clock_rate, config, channels=channels or config_channels or 1)
        self.params: TrackParams | None = self._params
        self.counters = DepayloadCounters()
        # The frame's length in RTP ticks; with SBR the RTP clock may be twice the core's rate (RFC 3640, 4.1).
        default = frame_samples * clock_rate // spoken_rate
        self._duration = _number(fmtp, "constantduration", default, 1 << 20) or default
        self._size_bits = _number(fmtp, "sizelength", 0, 16)
        self._index_bits = _number(fmtp, "indexlength", 0, 16)
        self._delta_bits = _number(fmtp, "indexdeltalength", 0, 16)
        self._constant_size = _number(fmtp, "constantsize", 0, _MAX_AU_BYTES)
        if not self._size_bits and not self._constant_size and fmtp.get("mode", "").lower() == "aac-hbr":
            self._size_bits, self._index_bits, self._delta_bits = 13, 3, 3
        self._lost = 0
        self._fragments = bytearray()
        self._fragment_bytes = 0
        self._fragment_timestamp = -1

    def push(self, data: Buffer, start: int, end: int, timestamp: int, marker: int) -> Sequence[CodedUnit]:
        """Take one payload; see `Depayloader.push`."""
        del marker  # set on every packet that ends an access unit: the lengths say so too
        try:
            sizes, at = self._sizes(data, start, end)
        except InvalidMedia as error:
            self.counters.reject(str(error))
            return ()
        if len(sizes) == 1 and (self._fragments or sizes[0] > end - at):
            return self._push_fragment(data, at, end, timestamp, sizes[0])
        self._drop_fragments()
        return self._split(data, at, end, timestamp, sizes)

    def lose(self, packets: int, timestamp: int) -> None:
        """Learn of missing packets right before the next push."""
        del timestamp
        self._lost += packets
        self._drop_fragments()

    def open_unit(self, room_bytes: int) -> bytearray | None:
        """Frames in several packets are rare: they have no short way."""
        del room_bytes
        return None

    def flush(self) -> Sequence[CodedUnit]:
        """A frame of which a part has not come cannot be given out."""
        self._drop_fragments()
        return ()

    def _sizes(self, data: Buffer, start: int, end: int) -> tuple[list[int], int]:
        if not self._size_bits:
            size = self._constant_size or end - start
            return [size] * max((end - start) // size if size else 0, 1), start
        header_bits = ((data[start] << 8) | data[start + 1]) if end - start >= 2 else 0
        body = start + 2 + (header_bits + 7) // 8
        if header_bits == 0 or body > end:
            msg = f"AAC payload of {end - start} bytes with AU headers of {header_bits} bits"
            raise InvalidMedia(msg, "rtp.aac")
        if header_bits == 16 and self._size_bits + self._index_bits == 16:  # one frame a packet, as nearly always
            return [((data[start + 2] << 8) | data[start + 3]) >> self._index_bits], body
        bits = BitReader(bytes(data[start + 2 : body]))
        sizes = []
        left = header_bits
        index_bits = self._index_bits
        while left >= self._size_bits + index_bits:
            sizes.append(bits.u(self._size_bits))
            bits.u(index_bits)
            left -= self._size_bits + index_bits
            index_bits = self._delta_bits
        if not sizes:
            msg = f"AAC AU headers of {header_bits} bits"
            raise InvalidMedia(msg, "rtp.aac")
        return sizes, body

    def _split(self, data: Buffer, at: int, end: int, timestamp: int, sizes: list[int]) -> Sequence[CodedUnit]:
        units = []
        for index, size in enumerate(sizes):
            if at + size > end:
                self.counters.reject("AAC access unit beyond the end of its packet")
                break
            if size == 0:
                self.counters.empty_payloads += 1
                continue
            units.append(self._unit(timestamp + index * self._duration, bytes(data[at : at + size])))
            at += size
        return units

    def _push_fragment(self, data: Buffer, at: int, end: int, timestamp: int, size: int) -> Sequence[CodedUnit]:
        if timestamp != self._fragment_timestamp or size != self._fragment_bytes:
            self._drop_fragments()
            if size <= end - at:
                return self._split(data, at, end, timestamp, [size])
        self._fragment_timestamp, self._fragment_bytes = timestamp, size
        self._fragments += data[at:end]
        if len(self._fragments) < size:
            return ()
        whole = bytes(self._fragments[:size])
        if len(self._fragments) > size:
            self.counters.reject("AAC fragments longer than their access unit")
        self._fragments.clear()
        self._fragment_timestamp = -1
        return (self._unit(timestamp, whole),)

    def _unit(self, timestamp: int, data: bytes) -> CodedUnit:
        unit = CodedUnit(timestamp & _MASK, self._params, data, keyframe=True, lost_packets=self._lost)
        self._lost = 0
        return unit

    def _drop_fragments(self) -> None:
        if self._fragments:
            self._fragments.clear()
            self.counters.incomplete_nals += 1
        self._fragment_timestamp = -1


def parse_audio_specific_config(config: bytes) -> tuple[int, int, int]:
    """Read an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

    Returns:
        Sampling rate of the core in Hz, channels (0 where a program element says it), samples a frame.

    Raises:
        InvalidMedia: It ends early or names a rate that is none.
    """
    bits = BitReader(config)
    kind = _object_type(bits)
    rate = _rate(bits)
    channels = bits.u(4)
    if kind in {5, 29}:  # SBR, PS: the core's own type follows the extended rate
        _rate(bits)
        kind = _object_type(bits)
    short = kind in {1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23} and bits.flag()
    samples = 480 if kind in {23, 39} and short else 512 if kind in {23, 39} else 960 if short else 1024
    return rate, 8 if channels == 7 else channels, samples


def _object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == 31 else kind


_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def _rate(bits: BitReader) -> int:
    index = bits.u(4)
    rate = bits.u(24) if index == 15 else _RATES[index] if index < len(_RATES) else 0
    if rate == 0:
        msg = f"AAC sampling rate index {index}"
        raise InvalidMedia(msg, "config")
    return rate


def _config(fmtp: Mapping[str, str]) -> bytes:
    text = fmtp.get("config", "").strip().strip('"')
    try:
        config = bytes.fromhex(text)
    except ValueError:
        config = b""
    if not 2 <= len(config) <= _MAX_CONFIG_BYTES:
        msg = "AAC without a configuration in the session description"
        raise InvalidMedia(msg, "config")
    return config


def _number(fmtp: Mapping[str, str], name: str, default: int, limit: int) -> int:
    text = fmtp.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text[:12]) > limit:
        msg = f"AAC {name}={text[:40]}"
        raise InvalidMedia(msg, name)
    return int(text)
