"""The contract of depayloaders: RTP payloads in sequence order in, coded units out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from domain.media import TrackParams
from streams.ingest.rtp.packet import Buffer

MAX_UNIT_BYTES: Final = 8 * 1024 * 1024
"""Largest access unit kept; what goes beyond is dropped and the unit is damaged."""


class CodedUnit(msgspec.Struct, gc=False):
    """One access unit as taken out of RTP, before any clock has looked at it.

    Attributes:
        timestamp: RTP timestamp, 32 bits as sent (sound: of the unit, counted on from the packet's).
        params: Parameters in force.
        data: NAL units behind 4-byte lengths, or one raw sound frame.
        keyframe: Decoding can start here.
        lost_packets: Packets known missing since the unit before.
        damaged: Packets of this very unit are missing.
    """

    timestamp: int
    params: TrackParams
    data: bytes
    keyframe: bool
    lost_packets: int = 0
    damaged: bool = False


class DepayloadCounters(msgspec.Struct):
    """What could not be passed on.

    Attributes:
        incomplete_nals: NAL units dropped because a part of them was missing.
        empty_payloads: Packets or NAL units without content.
        oversize_units: Access units cut at `MAX_UNIT_BYTES`.
        undescribed_units: Units dropped because their parameter sets were not known (yet).
        bad_parameter_sets: Parameter sets that could not be read.
        rejected: Payloads that could not be taken apart, wholly or in part.
        rejection: Why, of the last one.
    """

    incomplete_nals: int = 0
    empty_payloads: int = 0
    oversize_units: int = 0
    undescribed_units: int = 0
    bad_parameter_sets: int = 0
    rejected: int = 0
    rejection: str = ""

    def reject(self, reason: str) -> None:
        """Count a payload that cannot be taken apart."""
        self.rejected += 1
        self.rejection = reason


class Middle(NamedTuple):
    """How a payload looks that only goes on with a fragmented NAL unit: nearly all payloads of a picture.

    Attributes:
        mask: Which bits of its first four octets say so.
        value: What they are then.
        skip_bytes: What stands before the piece of the NAL unit.
    """

    mask: int
    value: int
    skip_bytes: int


class Depayloader(Protocol):
    """Takes one track's payloads, in order.

    Attributes:
        params: Parameters in force; None where they are not known yet.
        counters: What could not be passed on.
        middle: How middles of fragmented units look; None where there are none.
    """

    params: TrackParams | None
    counters: DepayloadCounters
    middle: Middle | None

    def open_unit(self, room_bytes: int) -> bytearray | None:
        """Return what so many bytes of middles may be appended to; None where no fragmented NAL unit is open."""
        ...

    @property
    def unit_complete(self) -> bool:
        """Whether a unit is held back whose last packet said that it was the last."""
        ...

    def push(self, data: Buffer, start: int, end: int, timestamp: int, marker: int) -> Sequence[CodedUnit]:
        """Take the payload `data[start:end]`; nothing of `data` is kept uncopied.

        Args:
            data: Buffer with the payload in it.
            start: Its first byte.
            end: Behind its last byte.
            timestamp: 32-bit RTP timestamp.
            marker: Not 0 where the marker bit is set.

        Returns:
            Units that are complete now. A video unit is complete when the next one begins. A payload that cannot be
            taken apart is counted, never raised: what came before it must not be lost with it.
        """
        ...

    def lose(self, packets: int, timestamp: int) -> None:
        """Learn that so many packets are missing right before the next push, which has this timestamp."""
        ...

    def flush(self) -> Sequence[CodedUnit]:
        """Give out what is held: the stream ends or starts anew."""
        ...
