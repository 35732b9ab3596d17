"""What a short look at a feed brings: a sink that counts, and keeps enough for one picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.media import AccessUnit, TrackParams
from streams.ingest.rtsp.receiver import FeedReceiver
from streams.ingest.sink import NoteKind

ENOUGH_MS: Final = 2_500
"""So long after the first keyframe it has seen enough."""
MAX_BYTES: Final = 8_000_000
MAX_UNITS: Final = 2_000
"""More than this is counted and not kept: a look must not fill the memory, whatever is sent."""


class Glance:
    """Takes units of a feed.

    Attributes:
        receiver: Of the tracks, to be given to the client.
        units: Kept, from the first keyframe on.
        bits: Of everything.
    """

    def __init__(self) -> None:
        self.receiver = FeedReceiver(self)
        self.units: list[AccessUnit] = []
        self.bits = 0
        self.playing = False
        self._first: AccessUnit | None = None
        self._last: AccessUnit | None = None
        self._pictures = 0
        self._keyframe: AccessUnit | None = None
        self._kept_bytes = 0
        self._sound: TrackParams | None = None
        self._offset_s: float | None = None

    def on_tracks(self, tracks: Sequence[TrackParams | None]) -> None:
        """Learn that it plays."""
        self.playing = True

    def on_note(self, kind: NoteKind, detail: str) -> None:
        """Nobody is told: what is recorded is told of when it is."""

    def on_unit(self, unit: AccessUnit) -> None:
        """Count a unit, and keep it where it may be of use."""
        self.bits += 8 * len(unit.data)
        self._first = self._first or unit
        self._last = unit
        if not unit.params.codec.is_video:
            self._sound = unit.params
        else:
            self._pictures += 1
            self._note_clock(unit)
            if self._keyframe is None and unit.keyframe:
                self._keyframe = unit
        if self._keyframe is not None and self._kept_bytes < MAX_BYTES and len(self.units) < MAX_UNITS:
            self.units.append(unit)
            self._kept_bytes += len(unit.data)

    @property
    def enough(self) -> bool:
        """Whether looking on would bring nothing more."""
        return self._keyframe is not None and self._span_ms(self._keyframe) >= ENOUGH_MS

    @property
    def picture(self) -> TrackParams | None:
        """Of the pictures, where one came that a decoder can begin with."""
        return None if self._keyframe is None else self._keyframe.params

    @property
    def any_unit(self) -> bool:
        """Whether anything came."""
        return self._first is not None

    @property
    def fps(self) -> float:
        """Pictures a second; 0 where too few came."""
        span_ms = self._span_ms(self._first) if self._first else 0
        return round(1000 * (self._pictures - 1) / span_ms, 1) if self._pictures > 2 and span_ms > 500 else 0.0

    @property
    def bits_per_s(self) -> int:
        """Bits a second; 0 where too little came."""
        span_ms = self._span_ms(self._first) if self._first else 0
        return round(1000 * self.bits / span_ms) if span_ms > 500 else 0

    @property
    def audio(self) -> str:
        """Codec of the sound; empty: none."""
        return "" if self._sound is None else self._sound.codec.value

    @property
    def clock_offset_s(self) -> float | None:
        """The camera's clock − ours; None where it does not tell."""
        return self._offset_s

    def _span_ms(self, since: AccessUnit) -> int:
        return 0 if self._last is None else max(0, self._last.arrived_at - since.arrived_at)

    def _note_clock(self, unit: AccessUnit) -> None:
        track = self.receiver.tracks[unit.track]
        sender_s = track.clock.sender_s(unit.pts) if track is not None else None
        if sender_s is not None:
            self._offset_s = round(sender_s - unit.captured_at / 1000, 2)
