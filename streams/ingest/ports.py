"""What device-facing ingest (WHIP, HTTP API) needs of the pipeline behind it. Implemented in `streams.ingest.feeds`."""

from __future__ import annotations

from typing import Literal, Protocol

from domain.clock import Instant
from domain.events import AnyRecorderEvent
from domain.registry import Registration
from streams.ingest.sink import Sink

SessionState = Literal["open", "stopped", "ended"]
"""`stopped` is open still, but not recording; `ended` is for ever."""


class FeedHandle(Sink, Protocol):
    """Where one connection's access units go, until closed."""

    @property
    def feed_id(self) -> str:
        """Of this connection; fragments are numbered within it."""
        ...

    @property
    def recorder_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def session_id(self) -> str:
        """What it belongs to."""
        ...

    async def close(self) -> None:
        """Flush what is open and wait until it is spooled. Closing twice does nothing."""
        ...


class IngestPort(Protocol):
    """The pipeline as devices' front doors see it."""

    @property
    def knows_registrations(self) -> bool:
        """Whether the registrations were read to their end once; until then an unknown or old one means nothing."""
        ...

    def registration(self, recorder_id: str) -> Registration | None:
        """Return the newest registration on the log, None where unknown."""
        ...

    def open_session(self, recorder_id: str) -> str | None:
        """Return the id of the recorder's session that has not ended, None where there is none."""
        ...

    def session_recorder(self, session_id: str) -> str | None:
        """Return whose session it is, None where unknown."""
        ...

    def session_state(self, session_id: str) -> SessionState | None:
        """Return how it stands, None where unknown. Events that `record` has taken count at once."""
        ...

    def is_heard_elsewhere(self, session_id: str, feed_id: str, since: Instant) -> bool:
        """Tell whether the log has newer media of a session opened by media alone, captured by another feed since."""
        ...

    async def caught_up(self) -> None:
        """Wait until the log's past is known, a few seconds after a start at most; after that, not at all.

        To be asked before nothing is made of not knowing a session.
        """
        ...

    def open_feed(self, recorder_id: str, session_id: str) -> FeedHandle:
        """Begin a feed.

        Raises:
            Unavailable: No room for another.
        """
        ...

    async def record(self, event: AnyRecorderEvent) -> None:
        """Take an event durably; events of one recorder keep the order of the calls.

        Raises:
            Unavailable: Not taken: spool full, or the log away. The caller tells the device to come again.
        """
        ...

    async def reject(self, recorder_id: str, data: bytes, reason: str, detail: str) -> None:
        """Keep what could not be read, on topic `rejected`.

        Raises:
            Unavailable: Not taken.
        """
        ...
