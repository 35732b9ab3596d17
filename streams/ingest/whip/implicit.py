"""Sessions that nobody opens: they begin when media comes and end when it has stayed away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from domain.clock import Clock, Instant
from domain.errors import Unavailable
from domain.events import SessionEnded, SessionOpened
from streams.ingest.api.session_ids import implicit_id, is_implicit
from streams.ingest.ports import IngestPort

_TRY_AGAIN_S: Final = 2.0
_HANDOVER_MS: Final = 10_000
"""A recorder that says goodbye to us may have gone to another worker so shortly before; its media stands in the log."""

_log = logging.getLogger(__name__)


class ImplicitSessions:
    """Opens and ends them; sessions that a device opened itself are left to it.

    Args:
        ingest: Where the events go.
        clock: Wall time.
        linger_s: How long a session waits for a recorder whose connection was lost.
    """

    def __init__(self, ingest: IngestPort, clock: Clock, linger_s: float) -> None:
        self._ingest = ingest
        self._clock = clock
        self._linger_s = linger_s
        self._endings: dict[str, asyncio.Task[None]] = {}

    async def join(self, recorder_id: str) -> str:
        """Return the session to record into: the open one, else a new one.

        Raises:
            Unavailable: The opening could not be recorded.
        """
        self.keep(recorder_id)
        session_id = self._ingest.open_session(recorder_id)
        if session_id is None:
            await self._ingest.caught_up()
            session_id = self._ingest.open_session(recorder_id)
        if session_id is None:
            at = self._clock.now()
            session_id = implicit_id(recorder_id, at)
            await self._ingest.record(SessionOpened(at=at, recorder_id=recorder_id, session_id=session_id))
        return session_id

    def keep(self, recorder_id: str) -> None:
        """The recorder is back: do not end its session."""
        ending = self._endings.pop(recorder_id, None)
        if ending is not None:
            ending.cancel()

    def leave(self, recorder_id: str, session_id: str, completed_at: Instant, *, lost: bool, feed_id: str = "") -> None:
        """The last feed of a session here is closed; end the session if it is ours to end.

        It is not where the recorder has meanwhile gone on in it with another worker, who then ends it.

        Args:
            recorder_id: Whose.
            session_id: Which.
            completed_at: When recording ended.
            lost: The connection was lost, so that the recorder may come back into the same session.
            feed_id: That feed's.
        """
        if not is_implicit(session_id, recorder_id):
            return
        self.keep(recorder_id)
        wait_s, since = (self._linger_s, completed_at) if lost else (0.0, completed_at.plus(-_HANDOVER_MS))

        def is_elsewhere() -> bool:
            return self._ingest.is_heard_elsewhere(session_id, feed_id, since)

        task = asyncio.create_task(self._end(recorder_id, session_id, completed_at, wait_s, is_elsewhere))
        self._endings[recorder_id] = task
        task.add_done_callback(lambda done: self._forget(recorder_id, done))

    async def close(self) -> None:
        """Let lingering sessions be: their recorders may come back to another process, or to this one restarted."""
        endings = list(self._endings.values())
        for ending in endings:
            ending.cancel()
        await asyncio.gather(*endings, return_exceptions=True)

    async def _end(
        self, recorder_id: str, session_id: str, completed_at: Instant, wait_s: float, is_elsewhere: Callable[[], bool]
    ) -> None:
        await asyncio.sleep(wait_s)
        if is_elsewhere():
            _log.info("%s: another worker goes on with session %s", recorder_id, session_id)
            return
        while self._ingest.session_state(session_id) != "ended":
            at = self._clock.now()
            event = SessionEnded(at=at, recorder_id=recorder_id, session_id=session_id, completed_at=completed_at)
            try:
                await self._ingest.record(event)
                return
            except Unavailable as error:
                _log.warning("%s: end of session %s not recorded yet: %s", recorder_id, session_id, error)
                await asyncio.sleep(_TRY_AGAIN_S)

    def _forget(self, recorder_id: str, done: asyncio.Task[None]) -> None:
        if self._endings.get(recorder_id) is done:
            del self._endings[recorder_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("%s: session not ended", recorder_id, exc_info=error)
