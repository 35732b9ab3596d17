"""The tracks of one feed between transport and sink: who gets which packet, what a person should know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit
from streams.ingest.rtp.capture_clock import FeedClock
from streams.ingest.rtp.feedback import FeedbackOptions
from streams.ingest.rtp.packet import Buffer
from streams.ingest.rtp.reorder import IN_ORDER
from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.rtsp.sdp import MediaSection
from streams.ingest.sink import NoteKind, Sink

_NOTES_EVERY_S: Final = 1.0


class Counts(msgspec.Struct):
    """What notes are made of, as it stood when last told."""

    lost: int = 0
    rejected: int = 0
    other_payloads: int = 0
    restarts: int = 0
    reports_refused: int = 0


class FeedReceiver:
    """Gives units to the sink and keeps the time of the last one.

    Args:
        sink: Takes tracks, units and notes.

    Attributes:
        tracks: By index; None where a section is not taken.
        last_unit_s: Monotonic arrival of the last unit of the leading kind: pictures where there are any.
        has_picture: Whether a picture track is taken.
        stray_frames: Interleaved frames on channels nobody asked for.
    """

    def __init__(self, sink: Sink) -> None:
        self.tracks: list[TrackReceiver | None] = []
        self.last_unit_s: float | None = None
        self.has_picture = False
        self.stray_frames = 0
        self._sink = sink
        self._told: dict[int, Counts] = {}
        self._told_stray = 0
        self._noted_s = float("-inf")

    def open(self, sections: Sequence[MediaSection], ssrc: int) -> None:
        """Make a receiver for the first picture and the first sound track we can take; say what is left out.

        Args:
            sections: Media sections of the session description.
            ssrc: Ours, for feedback.

        Raises:
            InvalidMedia: There is none at all.
        """
        feed = FeedClock()
        taken: set[str] = set()
        for index, section in enumerate(sections):
            track = None
            if section.kind in taken:
                self._leave_out(index, section, "one of this kind is taken already")
            elif section.kind in {"video", "audio"}:
                track = self._track(index, section, feed, ssrc)
            self.tracks.append(track)
            if track is not None:
                taken.add(section.kind)
        self.has_picture = "video" in taken
        if not taken:
            offered = "; ".join(f"{section.kind[:20]} {section.encodings}" for section in sections)
            msg = f"no track of a codec that is taken: {offered}"
            raise InvalidMedia(msg, "sdp")

    @property
    def said_goodbye(self) -> bool:
        """Whether the server ended every track by RTCP BYE."""
        return all(track.counters.goodbyes for track in self.tracks if track is not None)

    def announce(self) -> None:
        """Tell the sink of the tracks."""
        self._sink.on_tracks([track.params if track else None for track in self.tracks])

    def push(self, track: TrackReceiver, packet: Buffer, arrival_s: float, arrival: Instant, end: int) -> None:
        """Take one RTP datagram, `packet[:end]`."""
        units = track.push(packet, arrival_s, arrival, 0, end)
        if units:
            self.give(track, units, arrival_s)

    def give(self, track: TrackReceiver, units: Sequence[AccessUnit], now_s: float) -> None:
        """Hand units to the sink."""
        if track.media.codec.is_video or not self.has_picture:
            self.last_unit_s = now_s
        for unit in units:
            self._sink.on_unit(unit)

    def poll(self, now_s: float) -> None:
        """Give out what has waited long enough, and say what happened."""
        for track in self.tracks:
            if track is not None and (due := track.wake_at_s) is not None and due <= now_s:
                units = track.poll(now_s)
                if units:
                    self.give(track, units, self.last_unit_s or now_s)
        if now_s - self._noted_s >= _NOTES_EVERY_S:
            self._noted_s = now_s
            self._note()

    def finish(self) -> None:
        """Give out what is held: the feed ends."""
        for track in self.tracks:
            if track is not None:
                for unit in track.flush():
                    self._sink.on_unit(unit)
        self._note()

    def _track(self, index: int, section: MediaSection, feed: FeedClock, ssrc: int) -> TrackReceiver | None:
        media = section.format()
        if media is None:
            self._leave_out(index, section, "no codec that is taken")
            return None
        options = FeedbackOptions(ssrc + index, keyframes="nack pli" in section.feedback)
        try:
            return TrackReceiver(index, media, limits=IN_ORDER, feed=feed, feedback=options)
        except InvalidMedia as error:
            self._leave_out(index, section, str(error))
            return None

    def _leave_out(self, index: int, section: MediaSection, why: str) -> None:
        self._sink.on_note(
            NoteKind.UNSUPPORTED, f"track {index} ({section.kind[:20]} {section.encodings}) is not recorded: {why}"
        )

    def _note(self) -> None:
        for track in self.tracks:
            if track is not None:
                self._note_track(track, self._told.setdefault(track.index, Counts()))
        if self.stray_frames > self._told_stray:
            self._sink.on_note(NoteKind.REJECTED, f"{self.stray_frames - self._told_stray} frames on unknown channels")
            self._told_stray = self.stray_frames

    def _note_track(self, track: TrackReceiver, told: Counts) -> None:
        counters, depayload = track.counters, track.depayload_counters
        name = f"track {track.index}"
        if (lost := track.lost_packets) != told.lost:
            if lost > told.lost:
                self._sink.on_note(NoteKind.LOSS, f"{name}: {lost - told.lost} packets lost")
            told.lost = lost
        rejected = counters.rejected + depayload.rejected
        if rejected > told.rejected:
            reason = counters.rejection or depayload.rejection
            self._sink.on_note(NoteKind.REJECTED, f"{name}: {rejected - told.rejected} packets refused; last: {reason}")
            told.rejected = rejected
        if counters.other_payloads > told.other_payloads:
            count = counters.other_payloads - told.other_payloads
            self._sink.on_note(NoteKind.REJECTED, f"{name}: {count} packets of an unknown payload type")
            told.other_payloads = counters.other_payloads
        if counters.restarts > told.restarts:
            self._sink.on_note(NoteKind.RESTARTED, f"{name}: the sender began anew")
            told.restarts = counters.restarts
        if track.clock.reports_refused and not told.reports_refused:
            self._sink.on_note(NoteKind.CLOCK, f"{name}: sender reports contradict the media and are not used")
            told.reports_refused = track.clock.reports_refused
