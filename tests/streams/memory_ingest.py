"""An ingest pipeline in memory: keeps events and access units, and fails on request."""

import time

import msgspec

from domain.clock import Instant
from domain.errors import Unavailable
from domain.events import AnyRecorderEvent, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from domain.media import AccessUnit, TrackParams
from domain.registry import Registration, hash_token
from streams.ingest.ports import SessionState
from streams.ingest.sink import NoteKind


class MemoryFeed:
    """Keeps everything it is given."""

    def __init__(self, feed_id: str, recorder_id: str, session_id: str) -> None:
        self.feed_id = feed_id
        self.recorder_id = recorder_id
        self.session_id = session_id
        self.tracks: list[TrackParams | None] = []
        self.units: list[AccessUnit] = []
        self.notes: list[tuple[NoteKind, str]] = []
        self.closed = 0
        self.fail = False
        self.given_s: dict[int, list[float]] = {}

    def on_tracks(self, tracks) -> None:  # type: ignore[no-untyped-def]
        self.tracks = list(tracks)

    def on_unit(self, unit: AccessUnit) -> None:
        assert not self.closed
        if self.fail:
            raise RuntimeError("scripted")
        self.units.append(unit)
        self.given_s.setdefault(unit.track, []).append(time.monotonic())

    def on_note(self, kind: NoteKind, detail: str) -> None:
        self.notes.append((kind, detail))

    async def close(self) -> None:
        self.closed += 1

    def of(self, track: int) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.track == track]


class MemoryIngest:
    """`full` and `max_feeds` script its faults."""

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}
        self.events: list[AnyRecorderEvent] = []
        self.rejected: list[tuple[str, bytes, str, str]] = []
        self.feeds: list[MemoryFeed] = []
        self.full = False
        self.fail_on: set[int] = set()
        self.elsewhere: list[tuple[str, Instant]] = []
        self.max_feeds = 1000
        self.knows_registrations = True
        self._sessions: dict[str, tuple[str, SessionState]] = {}
        self._calls = 0

    def register(self, recorder_id: str, token: str = "t0ken", **more: object) -> Registration:
        known = {"recorder_id": recorder_id, "kind": "body_worn", "policy": "wucheng"}
        registration = msgspec.convert({**known, "token_sha256": hash_token(token), **more}, Registration)
        self.registrations[recorder_id] = registration
        return registration

    def registration(self, recorder_id: str) -> Registration | None:
        return self.registrations.get(recorder_id)

    def open_session(self, recorder_id: str) -> str | None:
        for session_id, (owner, state) in self._sessions.items():
            if owner == recorder_id and state != "ended":
                return session_id
        return None

    def session_recorder(self, session_id: str) -> str | None:
        return self._sessions[session_id][0] if session_id in self._sessions else None

    def session_state(self, session_id: str) -> SessionState | None:
        return self._sessions[session_id][1] if session_id in self._sessions else None

    def is_heard_elsewhere(self, session_id: str, feed_id: str, since: Instant) -> bool:
        return any(one == session_id and until > since for one, until in self.elsewhere)

    async def caught_up(self) -> None:
        pass

    def open_feed(self, recorder_id: str, session_id: str) -> MemoryFeed:
        if sum(not feed.closed for feed in self.feeds) >= self.max_feeds:
            raise Unavailable("no room for another feed")
        self.feeds.append(MemoryFeed(f"{session_id}-f{len(self.feeds)}", recorder_id, session_id))
        return self.feeds[-1]

    async def record(self, event: AnyRecorderEvent) -> None:
        call, self._calls = self._calls, self._calls + 1
        if self.full or call in self.fail_on:
            raise Unavailable("spool is full")
        self.events.append(event)
        match event:
            case SessionOpened():
                self._sessions[event.session_id] = (event.recorder_id, "open")
            case SessionStopped():
                self._sessions[event.session_id] = (event.recorder_id, "stopped")
            case SessionResumed():
                self._sessions[event.session_id] = (event.recorder_id, "open")
            case SessionEnded():
                self._sessions[event.session_id] = (event.recorder_id, "ended")
            case _:
                pass

    async def reject(self, recorder_id: str, data: bytes, reason: str, detail: str) -> None:
        if self.full:
            raise Unavailable("spool is full")
        self.rejected.append((recorder_id, data, reason, detail))

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]
