"""The session book: which sessions are open, folded from the `session_*` events of the log and from our own at once.

Several ingest workers serve one fleet, and a device may land on any of them; so each follows topic `events` and keeps
the whole book. Only session events are decoded. A small file remembers the book and where in the log it stood, so that
a restart reads seconds of the log, not its month.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec

from domain.bus import Record
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import AnyRecorderEvent, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from domain.wire import decode_event
from streams.ingest.ports import SessionState

ENDED_KEPT: Final = 50_000
"""Ended sessions remembered; the oldest are forgotten, and are then unknown."""
_MARK: Final = b'"session_'
_MARK_WITHIN: Final = 64
_log = logging.getLogger(__name__)


class _Session(msgspec.Struct):
    recorder_id: str
    state: SessionState
    at: int


class _Saved(msgspec.Struct):
    offsets: dict[int, int]
    sessions: dict[str, _Session]


class SessionBook:
    """Sessions by id, and the open ones of each recorder."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._open: dict[str, list[str]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

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

    def take(self, record: Record) -> None:
        """Fold in a record of topic `events`."""
        value = record.value or b""
        if _MARK not in value[:_MARK_WITHIN]:
            return
        try:
            event = decode_event(value)
        except InvalidEvent as error:
            _log.debug("events %d: %s", record.offset, error)  # the detectors' runner rejects and counts it
            return
        if isinstance(event, SessionOpened | SessionStopped | SessionResumed | SessionEnded):
            self.apply(event)

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
        self._sessions[session_id] = _Session(recorder_id, state, int(at))
        if state == "ended":
            self._end(session_id, recorder_id)
        elif known is None:
            self._open.setdefault(recorder_id, []).append(session_id)

    def _end(self, session_id: str, recorder_id: str) -> None:
        still_open = self._open.get(recorder_id, [])
        if session_id in still_open:
            still_open.remove(session_id)
        if not still_open:
            self._open.pop(recorder_id, None)
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
        return saved.offsets
