"""What a person should know of a peer, at most once a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.sink import NoteKind, Sink

_EVERY_S: Final = 1.0


class Notes:
    """Watches the counters of a feed's tracks and tells their growth.

    Args:
        sink: Whom to tell.
        tracks: Whose counters.
    """

    def __init__(self, sink: Sink, tracks: Sequence[TrackReceiver]) -> None:
        self._sink = sink
        self._tracks = tracks
        self._told = [(0, 0, 0)] * len(tracks)
        self._looked_s = float("-inf")
        self._playing = False

    def tell(self, now_s: float) -> None:
        """Look, if it is time."""
        if now_s - self._looked_s < _EVERY_S:
            return
        self._looked_s = now_s
        if not self._playing and any(track.counters.units for track in self._tracks):
            self._playing = True
            self._sink.on_note(NoteKind.PLAYING, "first access unit")
        for index, track in enumerate(self._tracks):
            self._tell_track(index, track)

    def _tell_track(self, index: int, track: TrackReceiver) -> None:
        counters = track.counters
        told = self._told[index]
        now = (track.lost_packets, counters.rejected, counters.restarts)
        if now == told:
            return
        self._told[index] = now
        name = track.media.codec.value
        if now[0] > told[0]:
            self._sink.on_note(NoteKind.LOSS, f"{name}: {now[0] - told[0]} packets lost, {now[0]} since the beginning")
        if now[1] > told[1]:
            self._sink.on_note(NoteKind.REJECTED, f"{name}: {now[1] - told[1]} packets: {counters.rejection}")
        if now[2] > told[2]:
            self._sink.on_note(NoteKind.RESTARTED, f"{name}: the sender's numbering began anew")
