"""Access units of H.264 and H.265 put together from NAL units: what both codecs have in common.

A unit ends where the next one begins, not at the marker bit: some cameras never set it, some set it on every slice.
It begins with a new timestamp, with a delimiter behind a slice, or with the first slice of a new picture, once the
marker was seen or parameter sets stand between. Parameter sets alone do not say it: some senders repeat them before
every slice of one picture; only the slice behind them tells whose they are (first_mb_in_slice, H.264, 7.4.1.2.4;
first_slice_segment_in_pic_flag, H.265, 7.4.2.4.5). The transport flushes a unit whose marker was seen when nothing
follows for a while.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from domain.errors import InvalidMedia
from domain.media import TrackParams
from streams.ingest.rtp.depayload import MAX_UNIT_BYTES, CodedUnit, DepayloadCounters, Middle
from streams.ingest.rtp.packet import Buffer

LENGTH_BYTES: Final = 4
_ROOM: Final = bytes(LENGTH_BYTES)
CLOSED: Final = -1
"""No fragmented NAL unit is open."""
ORPHANED: Final = -2
"""Fragments come of a NAL unit whose beginning is missing; they are passed over."""


class VideoAssembler:
    """Collects NAL units of one picture in one buffer, each behind its length.

    Subclasses say what a NAL unit is by its type and first slice byte, and take payloads apart.
    """

    middle: Middle | None = None

    def __init__(self, clock_rate: int) -> None:
        self.params: TrackParams | None = None
        self.counters = DepayloadCounters()
        self._clock_rate = clock_rate
        self._unit = bytearray()
        self._timestamp = -1
        self._marked = False
        self._has_picture = False
        self._keyframe = False
        self._damaged = False
        self._after_gap = False
        self._cut = False
        self._lost = 0
        self._repeats_sets = False  # the last whole keyframe came with its parameter sets
        self._nal_start = CLOSED  # of a fragmented NAL unit that is still open
        self._tail = 0  # where parameter sets behind a slice begin; 0 where none do
        self._before_nal = (False, False)  # has_picture and keyframe as they were before that one
        self._ready: list[CodedUnit] = []
        self._sets: list[tuple[int, int, int]] = []  # type and bounds of parameter sets in this unit

    @property
    def unit_complete(self) -> bool:
        """Whether the unit held back had its marker: nothing more of it should come."""
        return self._marked and self._has_picture and self._nal_start < 0 and not self._tail

    def open_unit(self, room_bytes: int) -> bytearray | None:
        """Return the unit while a fragmented NAL unit of it is open; see `Depayloader.open_unit`."""
        if self._nal_start < 0 or len(self._unit) + room_bytes > MAX_UNIT_BYTES:
            return None
        return self._unit

    def lose(self, packets: int, timestamp: int) -> None:
        """Learn of missing packets right before the next push, which has this timestamp."""
        if self._nal_start >= 0:
            self._abandon_nal()
        # With its marker seen and another timestamp next, this unit is whole and the loss belongs to the next one.
        if self._has_picture and self._marked and timestamp != self._timestamp:
            self._finish()
        self._damaged = self._damaged or bool(self._unit)
        self._lost += packets
        self._after_gap = True

    def flush(self) -> Sequence[CodedUnit]:
        """Give out what is held."""
        self._begin(-1)
        self._reset_unit()
        return self._take()

    def _take(self) -> Sequence[CodedUnit]:
        units, self._ready = self._ready, []
        return units

    def _begin(self, timestamp: int) -> None:
        """End the present unit, if it has a picture in it, and go on under a new timestamp.

        NAL units sent ahead of their picture under an older timestamp stay at its head.
        """
        if self._nal_start >= 0:
            self._abandon_nal()
        if self._has_picture:
            self._finish()
        self._timestamp = timestamp
        self._nal_start = CLOSED
        self._marked = False
        # What stays at the head may be all that came of a unit whose picture is lost: not as sent, so still damaged.
        self._damaged = self._damaged and bool(self._unit)

    def _add_nal(self, data: Buffer, start: int, end: int, kind: int, first_slice_byte: int) -> None:
        """Append a whole NAL unit."""
        if end <= start:
            self.counters.empty_payloads += 1
            return
        if len(self._unit) + end - start > MAX_UNIT_BYTES:
            self._cut_unit()
            return
        self._note_nal(kind, first_slice_byte)
        self._unit += (end - start).to_bytes(LENGTH_BYTES, "big")
        if self._is_set(kind):
            begin = len(self._unit)
            self._sets.append((kind, begin, begin + end - start))
        self._unit += data[start:end]

    def _open_nal(self, header: bytes, kind: int, first_slice_byte: int) -> None:
        """Begin a NAL unit that comes in fragments."""
        self._before_nal = (self._has_picture, self._keyframe)
        self._note_nal(kind, first_slice_byte)
        self._nal_start = len(self._unit)
        self._unit += _ROOM
        self._unit += header

    def _close_nal(self, kind: int) -> None:
        start = self._nal_start
        begin = start + LENGTH_BYTES
        self._unit[start:begin] = (len(self._unit) - begin).to_bytes(LENGTH_BYTES, "big")
        if self._is_set(kind):
            self._sets.append((kind, begin, len(self._unit)))
        self._nal_start = CLOSED

    def _abandon_nal(self) -> None:
        """Drop a fragmented NAL unit of which a part is missing: half of one is not what was sent."""
        del self._unit[self._nal_start :]
        self._has_picture, self._keyframe = self._before_nal
        self._nal_start = CLOSED
        self._damaged = True
        self.counters.incomplete_nals += 1

    def _end_fragments(self) -> None:
        """Another NAL unit begins while one is open: the rest of that one is missing."""
        if self._nal_start >= 0:
            self._abandon_nal()
        self._nal_start = CLOSED

    def _orphan(self) -> None:
        """Pass over a fragment whose NAL unit has no beginning."""
        if self._nal_start != ORPHANED:
            self._nal_start = ORPHANED
            self._damaged = True
            self.counters.incomplete_nals += 1

    def _reject(self, reason: str) -> None:
        """Count a payload that cannot be taken apart; the unit it belongs to is damaged."""
        self._damaged = True
        self.counters.reject(reason)

    def _cut_unit(self) -> None:
        if self._nal_start >= 0:
            self._abandon_nal()
        self._nal_start = ORPHANED
        self._damaged = True
        if not self._cut:
            self._cut = True
            self.counters.oversize_units += 1

    def _note_nal(self, kind: int, first_slice_byte: int) -> None:
        if not self._is_picture(kind):
            return
        self._has_picture = True
        if self._is_keyframe(kind):
            self._keyframe = True
        if self._after_gap:
            self._after_gap = False
            # The first slice of a picture says so; another one here means that the first was lost. So were the
            # parameter sets of a keyframe, where the one before came with its own.
            if not first_slice_byte & 0x80 or (self._keyframe and self._repeats_sets and not self._sets):
                self._damaged = True

    def _boundary(self, kind: int, first_slice_byte: int) -> None:
        """Begin a new unit where this NAL unit, under the same timestamp, cannot belong to the one that is open."""
        if self._nal_start != CLOSED:
            self._end_fragments()
        if not self._has_picture:
            return
        if self._is_picture(kind):
            if first_slice_byte & 0x80 and (self._marked or self._tail):
                self._begin(self._timestamp)
            self._tail = 0
        elif self._is_delimiter(kind):
            self._begin(self._timestamp)
        elif self._is_set(kind) and not self._tail:
            self._tail = len(self._unit)

    def _finish(self) -> None:
        """Give out the picture; parameter sets behind it are the head of the next unit."""
        end = self._tail or len(self._unit)
        head, damaged = self._unit[end:], self._damaged
        sets = [(kind, start - end, stop - end) for kind, start, stop in self._sets if start >= end]
        del self._unit[end:], self._sets[len(self._sets) - len(sets) :]
        if self._keyframe and not damaged:
            self._repeats_sets = bool(self._sets)
        if self._sets:
            self._learn_sets()
        if self.params is None:
            self.counters.undescribed_units += 1
        else:
            data = bytes(self._unit)
            self._ready.append(CodedUnit(self._timestamp, self.params, data, self._keyframe, self._lost, damaged))
            self._lost = 0
        self._reset_unit()
        self._unit, self._sets, self._damaged = head, sets, damaged and bool(head)

    def _reset_unit(self) -> None:
        self._unit = bytearray()
        self._sets = []
        self._tail = 0
        self._has_picture = self._keyframe = self._damaged = self._cut = False

    def _learn_sets(self) -> None:
        changed = False
        for kind, start, end in self._sets:
            try:
                changed |= self._learn_set(kind, bytes(self._unit[start:end]))
            except InvalidMedia:
                self.counters.bad_parameter_sets += 1
        if changed:
            self._rebuild()

    def _rebuild(self) -> None:
        try:
            self.params = self._describe() or self.params
        except InvalidMedia:
            self.counters.bad_parameter_sets += 1

    def _learn_out_of_band(self, nals: Sequence[bytes]) -> None:
        """Take the parameter sets of the session description."""
        for nal in nals:
            try:
                self._learn_set(self._kind_of(nal), nal)
            except InvalidMedia:
                self.counters.bad_parameter_sets += 1
        self._rebuild()

    @abstractmethod
    def _kind_of(self, nal: bytes) -> int: ...

    @abstractmethod
    def _is_picture(self, kind: int) -> bool: ...

    @abstractmethod
    def _is_keyframe(self, kind: int) -> bool: ...

    @abstractmethod
    def _is_set(self, kind: int) -> bool: ...

    @abstractmethod
    def _is_delimiter(self, kind: int) -> bool: ...

    @abstractmethod
    def _learn_set(self, kind: int, nal: bytes) -> bool:
        """Keep a parameter set; True where it was not known like this."""

    @abstractmethod
    def _describe(self) -> TrackParams | None:
        """Build the parameters from the sets known; None while one is missing."""
