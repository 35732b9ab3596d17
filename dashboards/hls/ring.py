"""The last fragments of one recorder, on one timeline, ready to be watched. Pure.

The store's fragments count decode time from 0 in each segment and each feed; a player wants one timeline that goes on.
So the copies here carry shifted decode times, the same shift for all tracks of a fragment, and tracks
that no browser takes are left out; what the log and the
store hold stays as it is. The wall-clock time of each fragment is beside it (`EXT-X-PROGRAM-DATE-TIME`).
"""

from __future__ import annotations

import hashlib
import math
from collections import deque

from dashboards.hls.mp4 import Media, retime
from dashboards.hls.playable import playable
from dashboards.hls.playlist import Entry, render, target_duration
from domain.clock import Instant, ms
from domain.events import Fragment

KEEP = 10
"""Fragments kept: a player holds three target durations back and asks for the playlist once a fragment. The oldest
goes; at about 1 MB each, a ring holds some 10 MB."""
GAP_MIN_S = 1.0
"""Less missing between two fragments is no gap (`recording.gap` says the same)."""
MAX_GAP_ENTRIES = 5
"""A longer gap is shown as so many entries and then a discontinuity: the playlist slides on at once."""


class Ring:
    """A sliding window over one recorder's fragments.

    Attributes:
        entries: What the playlist lists.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self._bodies: dict[str, bytes] = {}
        self._inits: dict[str, bytes] = {}
        self._first = self._offset = -1
        self._discontinuities = 0
        self._target_s = 1
        self._last: Fragment | None = None
        self._decode_end_s = 0.0
        self._shift_s = 0.0
        self._end_s = 0.0

    def __bool__(self) -> bool:
        return any(not entry.gap for entry in self.entries)

    def playlist(self) -> str:
        """Return the live playlist as it is now."""
        return render(self.entries, target_s=self._target_s, first=self._first, discontinuities=self._discontinuities)

    def body(self, uri: str) -> bytes | None:
        """Return a listed fragment or init segment by its URI; None once it is gone."""
        return self._bodies.get(uri) or self._inits.get(uri)

    def add(self, offset: int, event: Fragment, data: bytes, *, restarts: bool) -> None:
        """Take in the next fragment of the log; one again changes nothing.

        Args:
            offset: Its offset in the log, which names it for ever.
            event: What the log says of it.
            data: `ftyp`, `moov`, `moof`, `mdat`.
            restarts: Its decode times begin at 0 again.

        Raises:
            InvalidMedia: It cannot be taken apart; the ring is as it was.
        """
        last = self._last
        again = last is not None and last.feed_id == event.feed_id and event.seq <= last.seq
        if again or offset <= self._offset:
            return
        media = playable(data)
        init_uri = f"init-{hashlib.sha256(media.init).hexdigest()[:16]}.mp4"
        missing_s = 0.0 if last is None else (event.captured_at - _end(last)) / 1000
        other = last is not None and (last.feed_id != event.feed_id or init_uri not in self._inits)
        gaps = self._gap_entries(missing_s, init_uri) if last is not None else []
        self._place(media, other or restarts or last is None, sum(entry.duration_s for entry in gaps))
        main = media.main
        entry = Entry(
            uri=f"live-{offset}.m4s",
            duration_s=max(0.001, media.seconds(main, main.duration)),
            captured_at=event.captured_at,
            init_uri=init_uri,
            discontinuity=other or missing_s > GAP_MIN_S,
        )
        self._first = offset if self._first < 0 else self._first
        self._bodies[entry.uri] = retime(media, self._shift_s)
        self._inits[init_uri] = media.init
        self._end_s = self._shift_s + media.seconds(main, main.decode_time + main.duration)
        self._last, self._offset = event, offset
        for one in (*gaps, entry):
            self._append(one)

    def _place(self, media: Media, anew: bool, gap_s: float) -> None:
        """Find the shift: a new run of decode times begins where the one before ended, and after what is missing."""
        main = media.main
        start_s = media.seconds(main, main.decode_time)
        if anew or start_s < self._decode_end_s - 0.5 or gap_s:
            self._shift_s = self._end_s + gap_s - start_s
        self._decode_end_s = media.seconds(main, main.decode_time + main.duration)

    def _gap_entries(self, missing_s: float, init_uri: str) -> list[Entry]:
        if missing_s <= GAP_MIN_S or self._last is None:
            return []
        count = min(MAX_GAP_ENTRIES, math.ceil(missing_s / self._target_s))
        length_s = min(missing_s / count, float(self._target_s))
        end = _end(self._last)
        return [
            Entry(
                uri=f"gap-{end}-{index}.m4s",
                duration_s=length_s,
                captured_at=Instant(end + ms(index * length_s)),
                init_uri=self.entries[-1].init_uri if self.entries else init_uri,
                gap=True,
            )
            for index in range(count)
        ]

    def _append(self, entry: Entry) -> None:
        self.entries.append(entry)
        # May grow while watched, which players bear; a smaller one from the start saves seconds of delay.
        self._target_s = max(self._target_s, target_duration([entry.duration_s]))
        while len(self.entries) > KEEP:
            gone = self.entries.popleft()
            self._bodies.pop(gone.uri, None)
            self._first += 1
            self._discontinuities += gone.discontinuity
        used = {listed.init_uri for listed in self.entries}
        self._inits = {uri: init for uri, init in self._inits.items() if uri in used or uri == entry.init_uri}


def _end(event: Fragment) -> int:
    return event.captured_at + ms(event.duration_s)
