"""The session book: which sessions are open, folded from the `session_*` events of the log and from our own at once.

Several ingest workers serve one fleet, and a device may land on any of them; so each follows topic `events` and keeps
the whole book. Only session events are decoded. A small file remembers the book and where in the log it stood, so that
a restart reads seconds of the log, not its month.

Of sessions that media alone opened the book also knows the newest media on the log, whichever worker put it there: that
is how one that has lost a recorder learns that another has it.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from domain.bus import Record
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import AnyRecorderEvent, Fragment, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from domain.wire import decode_event
from streams.ingest.api.session_ids import is_implicit
from streams.ingest.ports import SessionState

ENDED_KEPT: Final = 50_000
"""Ended sessions remembered; the oldest are forgotten, and are then unknown."""
_MARK: Final = b'"session_'
_MEDIA_MARK: Final = b'"fragment"'
_MARK_WITHIN: Final = 64
_log = logging.getLogger(__name__)


class _Session(msgspec.Struct):
    recorder_id: str
    state: SessionState
    at: int
    media_until: int = 0
    media_feed: str = ""


class _Saved(msgspec.Struct):
    offsets: dict[int, int]
    sessions: dict[str, _Session]


class SessionBook:
    """Sessions by id, and the open ones of each recorder."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._open: dict[str, list[str]] = {}
        self._implicit: dict[str, set[str]] = {}  # of the open ones, by recorder
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._followed: dict[str, tuple[str, int]] = {}  # newest media of recorders that may be moving: feed, end

    def recorder(self, session_id: str) -> str | None:
        """Return whose session it is, None where unknown."""
        session = self._sessions.get(session_id)
        return session.recorder_id if session else None

    def state(self, session_id: str) -> SessionState | None:
        """Return how it stands, None where unknown."""
        session = self._sessions.get(session_id)
        return session.state if session else None

    def open_sessions(self, recorder_id: str) -> list[str]:
        """Return the recorder's sessions that have not ended, the newest last."""
        return list(self._open.get(recorder_id, ()))

    def implicit_sessions(self) -> Iterator[tuple[str, str]]:
        """Give recorder and id of each open session that media alone has opened."""
        for recorder_id, session_ids in self._implicit.items():
            for session_id in session_ids:
                yield recorder_id, session_id

    def heard_until(self, session_id: str) -> Instant:
        """Return the end of the newest media on the log of such a session; where there is none, when it was opened."""
        session = self._sessions[session_id]
        return Instant(session.media_until or session.at)

    def is_heard_elsewhere(self, session_id: str, feed_id: str, since: Instant) -> bool:
        """Tell whether the log has media of such a session captured after a moment, the newest from another feed."""
        session = self._sessions.get(session_id)
        return session is not None and session.media_feed not in {"", feed_id} and session.media_until > since

    def follow(self, recorder_id: str) -> None:
        """Note from now on which feed a recorder's newest media comes from, until `unfollow`."""
        self._followed.setdefault(recorder_id, ("", 0))

    def unfollow(self, recorder_id: str) -> None:
        """See `follow`."""
        self._followed.pop(recorder_id, None)

    def is_pulled_elsewhere(self, recorder_id: str, feed_id: str, since: Instant) -> bool:
        """Tell whether the log has media of a followed recorder after a moment, the newest from another feed."""
        feed, until = self._followed.get(recorder_id, ("", 0))
        return feed not in {"", feed_id} and until > since

    def take(self, record: Record) -> None:
        """Fold in a record of topic `events`."""
        value = record.value or b""
        head = value[:_MARK_WITHIN]
        is_heard = record.key in self._implicit or record.key in self._followed
        if _MARK not in head and not (is_heard and _MEDIA_MARK in head):
            return
        try:
            event = decode_event(value)
        except InvalidEvent as error:
            _log.debug("events %d: %s", record.offset, error)  # the detectors' runner rejects and counts it
            return
        if isinstance(event, Fragment):
            self._hear(event)
        elif isinstance(event, SessionOpened | SessionStopped | SessionResumed | SessionEnded):
            self.apply(event)

    def _hear(self, event: Fragment) -> None:
        session = self._sessions.get(event.session_id)
        until = event.captured_at.plus(round(event.duration_s * 1000))
        if session is not None and until > session.media_until:
            session.media_until, session.media_feed = int(until), event.feed_id
        followed = self._followed.get(event.recorder_id)
        if followed is not None and until > followed[1]:
            self._followed[event.recorder_id] = event.feed_id, int(until)

    def apply(self, event: AnyRecorderEvent) -> None:
        """Fold in an event; one that is older than what is known of the session changes nothing."""
        match event:
            case SessionOpened() | SessionResumed():
                self._set(event.session_id, event.recorder_id, "open", event.at)
            case SessionStopped():
                self._set(event.session_id, event.recorder_id, "stopped", event.at)
            case SessionEnded():
                self._set(event.session_id, event.recorder_id, "ended", event.at)
            case _:
                pass

    def _set(self, session_id: str, recorder_id: str, state: SessionState, at: Instant) -> None:
        known = self._sessions.get(session_id)
        if known is not None and (known.state == "ended" or (state != "ended" and at < known.at)):
            return
        if known is None:
            known = self._sessions[session_id] = _Session(recorder_id, state, int(at))
            if state != "ended":
                self._open.setdefault(recorder_id, []).append(session_id)
                if is_implicit(session_id, recorder_id):
                    self._implicit.setdefault(recorder_id, set()).add(session_id)
        known.state, known.at = state, int(at)
        if state == "ended":
            self._end(session_id, recorder_id)

    def _end(self, session_id: str, recorder_id: str) -> None:
        still_open = self._open.get(recorder_id, [])
        if session_id in still_open:
            still_open.remove(session_id)
        if not still_open:
            self._open.pop(recorder_id, None)
        implicit = self._implicit.get(recorder_id, set())
        implicit.discard(session_id)
        if not implicit:
            self._implicit.pop(recorder_id, None)
        self._ended[session_id] = None
        if len(self._ended) > ENDED_KEPT:
            forgotten, _ = self._ended.popitem(last=False)
            del self._sessions[forgotten]

    def save(self, path: Path, offsets: dict[int, int]) -> None:
        """Write the book and where in the log it stands.

        Raises:
            OSError: Not written; the file before stands.
        """
        draft = path.with_suffix(".part")
        draft.write_bytes(msgspec.json.encode(_Saved(offsets, self._sessions)))
        os.replace(draft, path)

    def load(self, path: Path) -> dict[int, int]:
        """Read what `save` wrote; return where in the log to go on, nothing where there is no readable file."""
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("%s: %s; reading the log from its beginning", path, error)
            return {}
        for session_id, session in saved.sessions.items():
            self._set(session_id, session.recorder_id, session.state, Instant(session.at))
            here = self._sessions.get(session_id)
            if here is not None:
                here.media_until, here.media_feed = session.media_until, session.media_feed
        return saved.offsets
