"""One feed: from access units to parcels in the spool.

The steps, numbered alike in `docs/design/ingest.md` and the crash test:

1. A unit is received.
2. It is appended to the journal (on disk within `JOURNAL_EVERY_S`).
3. The fragmenter takes it, and may cut a fragment.
4. The journal is flushed, so that a crash from here on cuts the very same fragment; then the fragment is put into the
   spool, in memory alone while the journal can give it again.
5. The journal begins a new section with what is pending.
6. The log acknowledges the media record.
7. The log acknowledges the `fragment` event. Where it does not within `streams.ingest.spool.WRITE_AFTER_S`, the
   fragment is written as a parcel first.
8. The journal is told that the fragment is safe, and drops files that hold no other; a parcel's file is removed.

A crash between 4 and 8 repeats records with the same `feed_id` and `seq` and changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from domain.clock import Clock, Instant
from domain.events import Fragment
from domain.media import AccessUnit, TrackParams
from domain.wire import encode
from streams.ingest import metrics, parcel
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.journal import FeedInfo, Journal
from streams.ingest.muxer import CutFragment
from streams.ingest.recovery import Recovered
from streams.ingest.sink import NoteKind
from streams.ingest.spool import Spool, SpoolFull

JOURNAL_EVERY_S: Final = 0.2
"""How often units are written to the journal: so much media is lost by kill -9, and what is in flight."""
_log = logging.getLogger(__name__)

_NOTE_REASONS: Final = {NoteKind.LOSS: "loss", NoteKind.REJECTED: "packet", NoteKind.UNSUPPORTED: "unsupported"}
_TOLD_NOTES: Final = frozenset({NoteKind.REJECTED, NoteKind.UNSUPPORTED})
"""Notes that a person should know: the first of each kind of a feed goes to topic `rejected`."""

SessionOf = Callable[["Feed", CutFragment], str]
"""Says to which session a fragment belongs, and writes down what happens to sessions before it; may raise SpoolFull."""


class Feed:
    """Where one connection's units go. Made by `streams.ingest.service`; not thread-safe.

    Attributes:
        info: Which feed; its session changes at midnight where it goes by day.
        last_captured_at: End of the newest fragment; None before the first.
    """

    def __init__(
        self,
        info: FeedInfo,
        spool: Spool,
        journals: Path,
        clock: Clock,
        *,
        session_of: SessionOf | None = None,
        on_closed: Callable[[Feed], None] | None = None,
    ) -> None:
        self.info = info
        self.last_captured_at: Instant | None = None
        self._spool = spool
        self._clock = clock
        self._session_of = session_of
        self._on_closed = on_closed
        self._fragmenter = Fragmenter(info.limits)
        self._journal = Journal(journals, info)
        self._journal_works = True
        self._dirty = False
        self._touched_s = clock.monotonic()
        self._counted: Counter[str] = Counter()
        self._told: set[NoteKind] = set()
        self._is_refused = False
        self._closed = False
        self._first_unit_s: float | None = None

    @property
    def media_s(self) -> float:
        """How long media has come, seconds."""
        return 0.0 if self._first_unit_s is None else self._touched_s - self._first_unit_s

    @property
    def feed_id(self) -> str:
        """Unique name of this connection."""
        return self.info.feed_id

    @property
    def recorder_id(self) -> str:
        """Whose feed it is."""
        return self.info.recorder_id

    @property
    def session_id(self) -> str:
        """Session of the newest fragment."""
        return self.info.session_id

    def on_tracks(self, tracks: Sequence[TrackParams | None]) -> None:
        """Learn of the tracks; a feed that may have pictures begins at a keyframe."""
        may_have_pictures = any(params is None or params.codec.is_video for params in tracks)
        self._fragmenter = Fragmenter(self.info.limits, has_video=may_have_pictures or not tracks)
        self._begin_journal()

    def on_unit(self, unit: AccessUnit) -> None:
        """Take a unit (steps 1 to 5)."""
        if self._closed:
            return
        self._touched_s = self._clock.monotonic()
        if self._first_unit_s is None:
            self._first_unit_s = self._touched_s
        self._journal.append(unit)
        self._dirty = True
        if fragments := self._fragmenter.push(unit):
            self._keep(fragments)

    def on_note(self, kind: NoteKind, detail: str) -> None:
        """Count and log what the transport says, and tell once what a person should know."""
        _log.info("%s: %s: %s", self.feed_id, kind, detail)
        reason = _NOTE_REASONS.get(kind)
        if reason is None:
            return
        metrics.count_rejected(reason)
        if kind in _TOLD_NOTES and kind not in self._told:
            self._told.add(kind)
            self._tell(reason, detail)

    def tick(self) -> None:
        """Write the journal; cut what is pending when nothing came for the length of a fragment."""
        if self._dirty:
            self._flush_journal()
        self._count_dropped()
        idle_s = self._clock.monotonic() - self._touched_s
        if self._fragmenter.pending and idle_s * 1000 >= self.info.limits.max_ms:
            self._keep_rest()
            self._begin_journal()

    async def close(self) -> None:
        """Spool what is pending and tell the store that nothing more comes. Closing twice does nothing."""
        self.finish()

    def finish(self) -> None:
        """As `close`; returns at once, for everything is on disk then."""
        if self._closed:
            return
        self._keep_rest()
        self._closed = True
        self._count_dropped()
        if self._fragmenter.progress.seq:
            self._put_feed_end()
        self._journal_do(self._journal.retire)
        if self._on_closed is not None:
            self._on_closed(self)

    def recover(self, found: Recovered) -> None:
        """Go on where the process before died, and finish: the connection died with it."""
        for section in found.sections:
            self.info = section.feed
            self._fragmenter = Fragmenter(section.feed.limits, progress=section.progress)
            if section.progress.last:
                self.last_captured_at = max(unit.captured_at for unit in section.progress.last.values())
            fragments = [fragment for unit in section.units for fragment in self._fragmenter.push(unit)]
            if section is found.sections[-1] and not found.is_sealed:
                fragments += self._fragmenter.flush()
            for fragment in fragments:
                if fragment.seq >= found.safe:
                    self._spool_fragment(fragment)
        self._closed = True
        if self._is_refused:
            return  # the journal stays, for a start with room
        if self._fragmenter.progress.seq:
            self._put_feed_end()
        for path in found.files:
            path.unlink(missing_ok=True)

    def _keep(self, fragments: Sequence[CutFragment]) -> None:
        self._flush_journal()  # step 4: first what the cut was decided by
        for fragment in fragments:
            self._spool_fragment(fragment, in_journal=self._journal.is_open)
        self._begin_journal()  # step 5

    def _keep_rest(self) -> None:
        """Cut what is pending. The journal alone would not cut it: it does not know that nothing more came."""
        if fragments := self._fragmenter.flush():
            self._flush_journal()
            for fragment in fragments:
                self._spool_fragment(fragment)

    def _spool_fragment(self, fragment: CutFragment, *, in_journal: bool = False) -> None:
        release = partial(self._release, fragment.seq) if in_journal else None
        try:
            session_id = self._session_of(self, fragment) if self._session_of else self.info.session_id
            if session_id != self.info.session_id:
                self.info = msgspec.structs.replace(self.info, session_id=session_id)
                self._journal.feed = self.info
            self._spool.put(self.recorder_id, self._records(fragment), known_sha256=fragment.sha256, when_safe=release)
        except SpoolFull as error:
            self._refuse(fragment, error)
            return
        self._is_refused = False
        self.last_captured_at = fragment.captured_at.plus(fragment.duration_ms)
        metrics.count_fragment(self.info.path, len(fragment.data))
        metrics.RECEIVE_TO_FRAGMENT.observe(max(0, self._clock.now() - fragment.captured_at) / 1000)

    def _release(self, seq: int) -> None:
        self._journal.release(seq)  # step 8
        self._dirty = True

    def _records(self, fragment: CutFragment) -> list[parcel.Outgoing]:
        event = Fragment(
            at=fragment.learnt_at,
            recorder_id=self.recorder_id,
            session_id=self.info.session_id,
            feed_id=self.feed_id,
            seq=fragment.seq,
            captured_at=fragment.captured_at,
            duration_s=fragment.duration_ms / 1000,
            bytes=len(fragment.data),
            sha256=fragment.sha256,
            codec=fragment.codecs,
            lost_packets=fragment.lost_packets,
        )
        return parcel.media(
            encode(event),
            self.recorder_id,
            fragment.data,
            starts_segment=fragment.starts_segment,
            dependent=not fragment.starts_with_keyframe,
        )

    def _refuse(self, fragment: CutFragment, error: SpoolFull) -> None:
        """Lose a fragment, and say so: its number stays missing, which the detectors find; the first one is told."""
        metrics.count_rejected("spool_full")
        if self._is_refused:
            return
        self._is_refused = True
        _log.error("%s: fragment %d is lost: %s", self.feed_id, fragment.seq, error)
        self._tell("spool_full", f"{self.feed_id} seq {fragment.seq} from {fragment.captured_at.rfc3339()}: {error}")

    def _put_feed_end(self) -> None:
        try:
            self._spool.put(self.recorder_id, parcel.feed_end(self.recorder_id, self.feed_id), is_event=True)
        except SpoolFull as error:
            _log.error("%s: the store is not told of its end: %s", self.feed_id, error)

    def _tell(self, reason: str, detail: str) -> None:
        records = parcel.rejected(self.recorder_id, b"", reason, f"{self.feed_id}: {detail}", "ingest")
        try:
            self._spool.put(self.recorder_id, records, is_event=True)
        except SpoolFull as error:
            _log.error("%s: %s: to be told later: %s", self.feed_id, reason, error)
            self._spool.owe(self.recorder_id, records)

    def _begin_journal(self) -> None:
        self._journal_do(lambda: self._journal.begin(self._fragmenter))
        self._dirty = False

    def _flush_journal(self) -> None:
        self._journal_do(self._journal.flush)
        self._dirty = False

    def _journal_do(self, work: Callable[[], None]) -> None:
        """Recording goes on without a journal when the disk is full; nothing is added behind a hole in one."""
        try:
            work()
            self._journal_works = True
        except OSError as error:
            if self._journal_works:
                _log.error("%s: no journal: %s", self.feed_id, error)
                metrics.count_rejected("journal_failed")
            self._journal_works = False
            with suppress(OSError):
                self._journal.retire()

    def _count_dropped(self) -> None:
        dropped = self._fragmenter.dropped
        if dropped != self._counted:
            for reason, amount in (dropped - self._counted).items():
                metrics.count_rejected(reason, amount)
            self._counted = Counter(dropped)
