"""Server-sent events: what changes, to every open page, to each what its reader may see. WHATWG HTML § 9.2.

Watchers with the same duties (and, on the wall, the same language and form) are told the same, so a message is made
once for all of them: the work grows with the kinds of watchers, not with their number.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Protocol

import msgspec

from dashboards.people.rights import Person, Place, Right, Role
from dashboards.projection import Change, Fleet
from dashboards.view import RecorderView, view
from domain.clock import Clock, Instant
from domain.errors import Unavailable
from domain.findings import Finding
from domain.wire import encode

MAX_WATCHERS = 200
MAX_QUEUED = 256
"""Messages one watcher may be behind; then it is cut off, and its browser comes back for a fresh picture."""
GATHER_S = 0.5
"""Changes of recorders within this time become one message."""
KEEPALIVE_S = 15.0
"""After so long without a message one is sent that says nothing; and after so long it is asked again who watches."""
EVENTS = frozenset({"fleet", "finding"})
"""What a watcher is told who names nothing."""


class FleetMessage(msgspec.Struct, frozen=True):
    """The data of `event: fleet`: recorders that changed, as they are now, and ids of those that are gone."""

    recorders: list[RecorderView]
    removed: list[str]


class TooManyWatchers(Unavailable):
    """All places are taken."""


class Wall(Protocol):
    """What hangs on the wall, drawn for whoever looks; `dashboards.wall.wall.Wall`."""

    def hear(self, changes: Sequence[Change]) -> None:
        """Note what changed."""

    def turn(self, now: Instant) -> bool:
        """Bring it up to date; tell whether anything is new since the turn before."""

    def message(self, person: Person, look: str, since: str) -> bytes | None:
        """Return the event that brings a look up to date; None where it is. With no version: since the last turn."""


class Watcher(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Who watches, and what.

    Attributes:
        person: Is told what they may see.
        events: Names of the events that they want.
        look: How the wall is drawn for them: language and form; empty where they do not watch it.
        queue: Messages on their way; None ends it.
    """

    person: Person
    events: frozenset[str]
    look: str = ""
    queue: asyncio.Queue[bytes | None] = msgspec.field(default_factory=lambda: asyncio.Queue(MAX_QUEUED))

    @property
    def kind(self) -> Hashable:
        """Watchers of one kind are told the same."""
        own = any(duty.role is Role.OFFICER for duty in self.person.duties)
        return self.person.duties, self.person.account_id if own else "", self.events, self.look


class Hub:
    """Hands out changes. All methods are called on one event loop.

    Args:
        fleet: The projection.
        clock: The time at which lag is taken.
        place: Where a recorder is, as far as rights go.
        wall: The wall; None where there is none.
    """

    def __init__(
        self, fleet: Fleet, clock: Clock, place: Callable[[str], Place] | None = None, wall: Wall | None = None
    ) -> None:
        self._fleet, self._clock, self._wall = fleet, clock, wall
        self._place = place or (lambda _recorder_id: Place())
        self._watchers: set[Watcher] = set()
        self._changed: set[str] = set()
        self._last_places: dict[str, Place] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def watchers(self) -> int:
        """How many are connected."""
        return len(self._watchers)

    def check_room(self) -> None:
        """Tell a newcomer before its answer begins.

        Raises:
            TooManyWatchers: There is no place.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchers(f"{MAX_WATCHERS} pages are open already")

    def publish(self, changes: Sequence[Change]) -> None:
        """Send findings at once, and the recorders they and other changes concern within `GATHER_S`."""
        if self._wall is not None:
            self._wall.hear(changes)
        for change in changes if self._watchers else ():
            self._changed.add(change.recorder_id)
            if change.finding is not None:
                self._tell_finding(change.finding)

    def tell(self, event: str, data: bytes, right: Right, place: Place) -> None:
        """Send an event to all who want it and hold a right at a place.

        Args:
            event: Its name.
            data: One line of JSON.
            right: Which.
            place: Where what it is about is.
        """
        message = _message(event, data)
        for watcher in list(self._watchers):
            if event in watcher.events and watcher.person.may_at(right, place):
                self._send(watcher, message)

    async def watch(
        self,
        person: Person,
        events: frozenset[str] = EVENTS,
        *,
        look: str = "",
        since: str = "",
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield messages for one watcher until it goes, is cut off, may no longer watch, or the hub closes.

        Args:
            person: Who watches.
            events: What they want to be told of.
            look: How the wall is drawn for them.
            since: The version of the wall that they have.
            still: Asked every `KEEPALIVE_S` whether they are still signed in.
        """
        watcher = Watcher(person=person, events=events, look=look)
        self._watchers.add(watcher)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._beat)
        try:
            yield b"retry: 1000\n\n"
            if look and self._wall is not None and (missed := self._wall.message(person, look, since)) is not None:
                yield missed
            async for message in _messages(watcher.queue, still):
                yield message
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End every stream."""
        if self._timer is not None:
            self._timer.cancel()
        for watcher in list(self._watchers):
            self._cut_off(watcher)

    def _tell_finding(self, finding: Finding) -> None:
        self.tell("finding", encode(finding), Right.ALERT_SEE, self._place(finding.recorder_id))

    def _beat(self) -> None:
        self._timer = None
        if not self._watchers:
            return
        self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._beat)
        now = self._clock.now()
        changed, self._changed = sorted(self._changed), set()
        new = self._wall is not None and self._wall.turn(now)
        kinds: dict[Hashable, list[Watcher]] = {}
        for watcher in self._watchers:
            kinds.setdefault(watcher.kind, []).append(watcher)
        for alike in kinds.values():
            one = alike[0]
            messages = [self._fleet_message(one.person, changed, now) if "fleet" in one.events and changed else None]
            if new and one.look and self._wall is not None:
                messages.append(self._wall.message(one.person, one.look, ""))
            for message in messages:
                for watcher in alike if message is not None else ():
                    self._send(watcher, message)
        for name in changed:
            if name not in self._fleet.recorders:
                self._last_places.pop(name, None)

    def _fleet_message(self, person: Person, changed: list[str], now: Instant) -> bytes | None:
        recorders, removed = [], []
        for name in changed:
            found = self._fleet.recorders.get(name)
            if found is not None:
                self._last_places[name] = self._place(name)
            if not person.may_at(Right.FLEET_SEE, self._last_places.get(name, Place())):
                continue
            if found is None:
                removed.append(name)
            else:
                recorders.append(view(found, now))
        return _message("fleet", encode(FleetMessage(recorders, removed))) if recorders or removed else None

    def _send(self, watcher: Watcher, message: bytes | None) -> None:
        try:
            watcher.queue.put_nowait(message)
        except asyncio.QueueFull:
            self._cut_off(watcher)

    def _cut_off(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        while not watcher.queue.empty():
            watcher.queue.get_nowait()
        watcher.queue.put_nowait(None)


async def _messages(
    queue: asyncio.Queue[bytes | None], still: Callable[[], Awaitable[bool]] | None
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ask_at = loop.time() + KEEPALIVE_S
    while True:
        message: bytes | None = b": still here\n\n"
        with contextlib.suppress(TimeoutError):
            message = await asyncio.wait_for(queue.get(), KEEPALIVE_S)
        if message is None:
            return
        if still is not None and loop.time() >= ask_at:
            if not await still():
                return
            ask_at = loop.time() + KEEPALIVE_S
        yield message


def _message(name: str, data: bytes) -> bytes:
    """Frame one line of JSON (which holds no line breaks)."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
