"""One publishing peer: packets from its transport through the RTP core into its feed, feedback on the way back."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from aiortc import RTCCertificate

from domain.clock import Clock
from domain.media import AccessUnit
from streams.ingest.ports import FeedHandle
from streams.ingest.rtp.capture_clock import FeedClock
from streams.ingest.rtp.feedback import FeedbackOptions
from streams.ingest.rtp.reorder import ReorderLimits
from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.sink import NoteKind
from streams.ingest.whip.answer import feedback_for, uses_transport_cc
from streams.ingest.whip.arrivals import ArrivalLog, extension_value
from streams.ingest.whip.bitrate import AdviceSchedule
from streams.ingest.whip.keyframes import KeyframeRefresh
from streams.ingest.whip.notes import Notes
from streams.ingest.whip.offer import Offer, OfferedTrack
from streams.ingest.whip.transport import PeerTransport, Workspace

CALM_S: Final = 0.1
"""How often a peer is looked after: packets are read, reports, arrival times, limits and requests are sent."""
URGENT_S: Final = 0.02
"""The same where packets go missing, and where the kernel has little room for what is not read yet."""
LOSSY_S: Final = 5.0
"""So long after a packet was missing a path counts as one that loses, as it does at first: senders keep little to send
again."""

# A recording may wait longer than a call: twice the round trip of a bad mobile link, and under the second at which a
# gap counts.
_WAIT: Final = ReorderLimits(delay_s=0.6, packets=1024, nack=True, nack_every_s=0.08, nack_tries=6)
_NO_REPEATS: Final = ReorderLimits(delay_s=0.2)

_log = logging.getLogger(__name__)


class Ending(StrEnum):
    """Why a peer is no more."""

    DELETED = "deleted"
    REPLACED = "replaced"
    SILENT = "silent"
    CLOSED = "closed by peer"
    UNCONNECTED = "never connected"
    SESSION_ENDED = "session ended"
    NOT_ACTIVE = "recorder not active"
    FAULT = "fault"
    SHUTDOWN = "shutdown"


class WhipPeer:
    """What one `POST` has brought about.

    Args:
        offer: What was agreed on.
        feed: Where access units go.
        clock: Wall and monotonic time.
        certificate: Of this process.
        on_end: Called at most once, from a callback, when the peer has ended by itself.
        workspace: Where packets are decrypted; shared with other peers.

    Attributes:
        id: Unguessable part of its `Location`.
        heard_s: When authentic packets were last read, monotonic; of its making before the first.
        connected: Media may come.
        due_s: When `tick` is to be called next, monotonic.
    """

    def __init__(
        self,
        offer: Offer,
        feed: FeedHandle,
        clock: Clock,
        certificate: RTCCertificate,
        on_end: Callable[[WhipPeer, Ending], None],
        *,
        workspace: Workspace | None = None,
    ) -> None:
        self.id = secrets.token_hex(16)
        self.offer = offer
        self.feed = feed
        self.connected = False
        self.packets = 0
        self.media_bytes = 0
        self.unexpected_payloads = 0
        self._clock = clock
        self._now = clock.now  # bound once: every packet asks
        self._monotonic = clock.monotonic
        self._on_end = on_end
        self._ended = False
        self.heard_s = clock.monotonic()
        self.transport = PeerTransport(
            certificate, self._on_rtp, self._on_rtcp, lambda: self._end(Ending.CLOSED), workspace
        )
        self._ssrc = secrets.randbits(31) + 1
        feed_clock = FeedClock()
        self.tracks = [self._receiver(index, track, feed_clock) for index, track in enumerate(offer.tracks)]
        self._video = self.tracks[offer.tracks.index(offer.video)]
        self._refresh = KeyframeRefresh(self._ssrc) if "nack pli" in feedback_for(offer.video) else None
        self._by_payload_type = {track.media.payload_type: track for track in self.tracks}
        self._arrivals = ArrivalLog(self._ssrc) if any(map(uses_transport_cc, offer.tracks)) else None
        self._extension_id = max(track.transport_cc_id for track in offer.tracks)
        self.due_s = self._calm_due_s = _after(self.heard_s, CALM_S)
        self._is_hasty = False
        self._urgent_until_s = 0.0
        self._advice = AdviceSchedule(self._ssrc) if "goog-remb" in feedback_for(offer.video) else None
        self._media_ssrc = 0
        self._notes = Notes(feed, self.tracks)
        feed.on_tracks([track.params for track in self.tracks])
        refused = len(offer.sections) - len(offer.tracks)
        if refused:
            feed.on_note(NoteKind.UNSUPPORTED, f"{refused} media sections of the offer are not taken")

    @property
    def lost_packets(self) -> int:
        """Packets lost for good, all tracks."""
        return sum(track.lost_packets for track in self.tracks)

    def begin(self) -> None:
        """The transport is connected: silence counts from now."""
        self.heard_s = self._clock.monotonic()
        self.connected = True
        self._is_hasty = self.transport.room_s < CALM_S
        self._urgent_until_s = self.heard_s + LOSSY_S  # nobody knows the path yet, and the first keyframe is coming
        self.due_s = _after(self.heard_s, URGENT_S)

    def tick(self, now_s: float, silent_after_s: float) -> None:
        """Do what time asks for; called when it is `due_s`."""
        if not self._read(now_s, silent_after_s):
            self.due_s = _after(now_s, CALM_S)
            return
        calm = now_s >= self._calm_due_s
        for track in self.tracks:
            self._look_after(track, now_s, calm=calm)
        if calm:
            self._calm_due_s = _after(now_s, CALM_S)
            self._tick_calm(now_s)
        if self._is_hasty or any(track.is_waiting for track in self.tracks):
            self._urgent_until_s = now_s + LOSSY_S
        self.due_s = _after(now_s, URGENT_S) if now_s < self._urgent_until_s else self._calm_due_s

    def _read(self, now_s: float, silent_after_s: float) -> bool:
        """Take what has come; False where the peer is not there, or no more."""
        if self._ended or not self.connected:
            return False
        before = self.packets
        self.transport.receive()
        if self.packets != before:
            self.heard_s = now_s
        elif now_s - self.heard_s >= silent_after_s:
            self._end(Ending.SILENT)
        return not self._ended

    def _look_after(self, track: TrackReceiver, now_s: float, *, calm: bool) -> None:
        """Give out what has waited long enough, and answer its sender, where one of them is due."""
        due_s = track.wake_at_s
        if due_s is not None and due_s <= now_s:
            self._give(track.poll(now_s))
        elif not calm:
            return
        if feedback := track.feedback(now_s):
            self.transport.send_rtcp(feedback)

    def _tick_calm(self, now_s: float) -> None:
        if self._arrivals is not None and (report := self._arrivals.feedback(self._media_ssrc)):
            self.transport.send_rtcp(report)
        if self._advice is not None and (
            limit := self._advice.due(now_s, self._media_ssrc, self.media_bytes, self.packets, self.lost_packets)
        ):
            self.transport.send_rtcp(limit)
        if self._refresh is not None and (request := self._refresh.due(now_s, self._media_ssrc)):
            self.transport.send_rtcp(request)
        self._notes.tell(now_s)

    async def close(self) -> None:
        """Take what is there, close the feed, then let the peer go. Closing twice does nothing more."""
        if self.connected and not self._ended:
            self.transport.receive()
        self._ended = True
        for track in self.tracks:
            self._give(track.flush())
        self._notes.tell(float("inf"))
        await self.feed.close()
        await self.transport.close()

    def _receiver(self, index: int, track: OfferedTrack, clock: FeedClock) -> TrackReceiver:
        agreed = feedback_for(track)
        limits = _WAIT if "nack" in agreed else _NO_REPEATS
        options = FeedbackOptions(self._ssrc, reports_every_s=1.0, keyframes="nack pli" in agreed)
        return TrackReceiver(index, track.format, limits=limits, feed=clock, feedback=options)

    def _on_rtp(self, data: memoryview, start: int, end: int, source: int, age_s: float) -> None:
        if self._ended:
            return
        self.packets += 1
        if self._arrivals is not None:
            number = extension_value(data, start, end, self._extension_id)
            if number >= 0:
                self._arrivals.arrived(number, self._monotonic() - age_s)
        track = self._by_payload_type.get(data[start + 1] & 0x7F)
        if track is None:
            self.unexpected_payloads += 1
            return
        self.media_bytes += end - start
        if track is self._video:
            self._media_ssrc = source
        try:
            if not track.extend(data, start, end):
                arrival = self._now().plus(-round(1000 * age_s))
                self._give(track.push(data, self._monotonic() - age_s, arrival, start, end))
        except Exception:
            # Ours, not the sender's: the core refuses without raising. One recorder must not stop the others.
            _log.exception("%s: feed %s stopped by a fault", self.feed.recorder_id, self.feed.feed_id)
            self._end(Ending.FAULT)

    def _on_rtcp(self, data: bytes, age_s: float) -> None:
        if self._ended:
            return
        arrival_s = self.heard_s = self._monotonic() - age_s
        for track in self.tracks:
            track.on_rtcp(data, arrival_s)

    def _give(self, units: Sequence[AccessUnit]) -> None:
        for unit in units:
            if unit.keyframe and self._refresh is not None and unit.track == self._video.index:
                self._refresh.keyframe(self._clock.monotonic())
            self.feed.on_unit(unit)

    def _end(self, ending: Ending) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(self, ending)


def _after(now_s: float, every_s: float) -> float:
    """Return the next moment of a grid that all peers share, so that one wake-up serves them all."""
    return (now_s // every_s + 1) * every_s
