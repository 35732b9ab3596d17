"""G.711 out of RTP (RFC 3551, 4.5.14): a payload is what it is, one unit a packet."""

from __future__ import annotations

from collections.abc import Sequence

from domain.media import Codec, TrackParams
from streams.ingest.rtp.depayload import CodedUnit, DepayloadCounters, Middle
from streams.ingest.rtp.packet import Buffer


class WholePayloadDepayloader:
    """One packet is one unit: G.711, Opus.

    Args:
        params: Parameters of the track, known from the session description.
    """

    unit_complete = False
    middle: Middle | None = None

    def __init__(self, params: TrackParams) -> None:
        self.params: TrackParams | None = params
        self.counters = DepayloadCounters()
        self._params = params
        self._lost = 0

    def push(self, data: Buffer, start: int, end: int, timestamp: int, marker: int) -> Sequence[CodedUnit]:
        """Take one payload; see `Depayloader.push`."""
        del marker  # the beginning of a talk spurt
        if end <= start:
            self.counters.empty_payloads += 1
            return ()
        unit = CodedUnit(timestamp, self._params, bytes(data[start:end]), keyframe=True, lost_packets=self._lost)
        self._lost = 0
        return (unit,)

    def lose(self, packets: int, timestamp: int) -> None:
        """Learn of missing packets right before the next push."""
        del timestamp
        self._lost += packets

    def open_unit(self, room_bytes: int) -> bytearray | None:
        """Nothing comes in pieces."""
        del room_bytes
        return None

    def flush(self) -> Sequence[CodedUnit]:
        """Nothing is ever held."""
        return ()


class G711Depayloader(WholePayloadDepayloader):
    """A-law or µ-law, an octet a sample and channel."""

    def __init__(self, codec: Codec, clock_rate: int, channels: int) -> None:
        super().__init__(TrackParams(codec, clock_rate, channels=channels or 1))
