"""The publishing peers of one process: how many, which one of a recorder counts, and when each is over.

A second `POST` of a recorder replaces the first, as soon as it is connected: a recorder whose network has changed must
be able to publish at once, though its old connection does not know yet that it is dead; and as long as the new one does
not come about, the old one goes on. So at most two peers stand for a recorder, and only recorders are counted against
the limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiortc import RTCCertificate

from domain.clock import Clock
from domain.errors import Unavailable
from domain.registry import Registration
from streams.ingest.api.locks import RecorderLocks
from streams.ingest.ports import IngestPort
from streams.ingest.whip.answer import write_answer
from streams.ingest.whip.implicit import ImplicitSessions
from streams.ingest.whip.offer import Offer
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.peer import CALM_S, Ending, WhipPeer
from streams.ingest.whip.transport import Workspace, new_certificate

SESSIONS_EVERY_S: Final = 1.0
"""How often it is looked whether another worker has ended a session that is recorded into here."""
_RENEW_BEFORE: Final = timedelta(days=3)
_LEAVES: Final = frozenset(
    {Ending.DELETED, Ending.SILENT, Ending.CLOSED, Ending.UNCONNECTED, Ending.FAULT, Ending.NOT_ACTIVE}
)
"""After these nobody records into the session here any more."""

_log = logging.getLogger(__name__)


class WhipService:
    """Takes offers, keeps peers, ends them.

    Args:
        ingest: The pipeline behind.
        clock: Wall and monotonic time.
        options: Bounds and times.
        locks: Shared with the device API, so that a session is opened once.
    """

    def __init__(
        self, ingest: IngestPort, clock: Clock, options: WhipOptions, locks: RecorderLocks | None = None
    ) -> None:
        self.ended: dict[Ending, int] = dict.fromkeys(Ending, 0)
        self._ingest = ingest
        self._clock = clock
        self._options = options
        self._locks = locks or RecorderLocks()
        self._sessions = ImplicitSessions(ingest, clock, options.linger_s)
        self._peers: dict[str, list[WhipPeer]] = {}  # by recorder; the connected one first, at most two
        self._tasks: set[asyncio.Task[None]] = set()
        self._certificate: RTCCertificate | None = None
        self._workspace = Workspace()
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._looked_s = 0.0
        self._closed = False

    @property
    def peers(self) -> Sequence[WhipPeer]:
        """Every peer there is."""
        return [peer for peers in self._peers.values() for peer in peers]

    async def publish(self, registration: Registration, offer: Offer) -> tuple[WhipPeer, str]:
        """Take a peer and return it with the answer to its offer.

        Raises:
            Unavailable: As many recorders publish as may, no socket, or the pipeline takes no more.
        """
        recorder_id = registration.recorder_id
        async with self._locks.of(recorder_id):
            if self._closed:
                msg = "this process is shutting down"
                raise Unavailable(msg)
            if recorder_id not in self._peers and len(self._peers) >= self._options.max_sessions:
                msg = f"{self._options.max_sessions} recorders publish here already"
                raise Unavailable(msg)
            self._peers.setdefault(recorder_id, [])
            try:
                return await self._admit(recorder_id, offer)
            finally:
                self._drop_if_empty(recorder_id)

    def find(self, recorder_id: str, peer_id: str) -> WhipPeer | None:
        """Return a peer by what its `Location` names."""
        return next((peer for peer in self._peers.get(recorder_id, ()) if peer.id == peer_id), None)

    async def delete(self, peer: WhipPeer) -> None:
        """End a peer that says goodbye; its media is spooled when this returns."""
        await self._finish(peer, Ending.DELETED)

    async def close_session(self, recorder_id: str, session_id: str) -> None:
        """Close the feeds of a session that is about to end; the end itself is the caller's to record."""
        self._sessions.keep(recorder_id)
        for peer in list(self._peers.get(recorder_id, ())):
            if peer.feed.session_id == session_id:
                await self._finish(peer, Ending.SESSION_ENDED)

    async def close(self) -> None:
        """Close every feed. Sessions stay open: their recorders will come back to another process, or to the next."""
        self._closed = True
        await asyncio.gather(*(self._finish(peer, Ending.SHUTDOWN) for peer in self.peers))
        await self._sessions.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()

    async def _admit(self, recorder_id: str, offer: Offer) -> tuple[WhipPeer, str]:
        for waiting in [peer for peer in self._peers[recorder_id] if not peer.connected]:
            await self._finish(waiting, Ending.REPLACED)
        self._peers.setdefault(recorder_id, [])
        session_id = await self._sessions.join(recorder_id)
        try:
            feed = self._ingest.open_feed(recorder_id, session_id)
        except Unavailable:
            if not self._peers[recorder_id]:
                self._sessions.leave(recorder_id, session_id, self._clock.now(), lost=True)
            raise
        peer = WhipPeer(offer, feed, self._clock, self._own_certificate(), self._on_end, workspace=self._workspace)
        self._peers[recorder_id].append(peer)
        try:
            end = await peer.transport.listen(self._options.hosts, self._options.ports)
            await peer.transport.add_candidates(offer.candidates)
        except BaseException:
            await self._finish(peer, Ending.UNCONNECTED)
            raise
        self._number += 1
        self._spawn(self._connect(peer))
        self._start_ticking()
        return peer, write_answer(offer, end, self._number)

    async def _connect(self, peer: WhipPeer) -> None:
        offer = peer.offer
        connected = False
        try:
            async with asyncio.timeout(self._options.connect_within_s):
                connected = await peer.transport.connect(
                    offer.ufrag, offer.password, offer.fingerprints, offer.setup, ice_lite=offer.ice_lite
                )
        except TimeoutError:
            _log.info("%s: no connection within %g s", peer.feed.recorder_id, self._options.connect_within_s)
        if not connected:
            await self._finish(peer, Ending.UNCONNECTED)
            return
        peer.begin()
        self._start_ticking()
        others = [other for other in self._peers.get(peer.feed.recorder_id, ()) if other is not peer]
        for other in others:
            await self._finish(other, Ending.REPLACED)

    def _on_end(self, peer: WhipPeer, ending: Ending) -> None:
        self._spawn(self._finish(peer, ending))

    async def _finish(self, peer: WhipPeer, ending: Ending) -> None:
        """Close a peer, whoever ends it first."""
        recorder_id = peer.feed.recorder_id
        peers = self._peers.get(recorder_id, [])
        if peer in peers:
            peers.remove(peer)
            self.ended[ending] += 1
            _log.info("%s: feed %s over: %s", recorder_id, peer.feed.feed_id, ending.value)
            completed_at = self._clock.now()
            await peer.close()
            if ending in _LEAVES and not peers:
                lost = ending not in {Ending.DELETED, Ending.NOT_ACTIVE}
                feed = peer.feed
                self._sessions.leave(recorder_id, feed.session_id, completed_at, lost=lost, feed_id=feed.feed_id)
        self._drop_if_empty(recorder_id)

    def _own_certificate(self) -> RTCCertificate:
        certificate = self._certificate
        if certificate is None or certificate.expires - datetime.now(tz=UTC) < _RENEW_BEFORE:
            certificate = self._certificate = new_certificate()
        return certificate

    def _drop_if_empty(self, recorder_id: str) -> None:
        if self._peers.get(recorder_id) == []:
            del self._peers[recorder_id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a WHIP task failed", exc_info=error)

    def _start_ticking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_s = self._clock.monotonic()
        due_s = min((peer.due_s for peer in self.peers), default=now_s + CALM_S)
        # A timer keeps whole milliseconds: one more, or it may come just too early.
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due_s - now_s) + 0.001, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        for peer in self.peers:
            if peer.due_s <= now_s:
                peer.tick(now_s, self._options.silent_after_s)
        if now_s - self._looked_s >= SESSIONS_EVERY_S:
            self._looked_s = now_s
            self._part_from_ended()
            self._part_from_suspended()
        if self._peers:
            self._start_ticking()

    def _part_from_ended(self) -> None:
        """Let peers go whose session was ended through another worker: an end is for ever; they begin another."""
        for peer in self.peers:
            if self._ingest.session_state(peer.feed.session_id) == "ended":
                self._spawn(self._finish(peer, Ending.SESSION_ENDED))

    def _part_from_suspended(self) -> None:
        """Let peers go whose recorder was taken out of use while it was publishing."""
        for peer in self.peers:
            registration = self._ingest.registration(peer.feed.recorder_id)
            if self._ingest.knows_registrations and (registration is None or registration.state != "active"):
                self._spawn(self._finish(peer, Ending.NOT_ACTIVE))
