"""What is to be looked at next. Pure; bounded; never a backlog.

Pictures are looked at as often as there is time for, at most every `every_ms` a recorder: of each recorder only the
newest fragment waits, and a newer one takes its place. The sound after a beginning (of a feed, or after a gap) is
listened to whole: an officer may be explaining a stop. These fragments wait in line, ahead of the pictures.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from domain.events import Fragment

SOUND: Final = frozenset({"aac", "pcma", "pcmu", "opus"})
LISTEN_MS: Final = 90_000
"""Longer than the first minute of recording, in which an explanation counts."""
BREAK_MS: Final = 1_000
MAX_BYTES: Final = 128_000_000
"""Of waiting fragments; beyond it the oldest are dropped, pictures first."""
MAX_RECORDERS: Final = 10_000
STALE_MS: Final = 15_000
"""A picture that has waited so long is of no use any more; a newer one will come."""


class Task(msgspec.Struct, frozen=True):
    """A fragment to be looked at or listened to.

    Attributes:
        event: Its event.
        data: Its bytes.
        look: Its keyframe.
        listen: Its speech.
        since: When it began to wait, milliseconds since 1970.
    """

    event: Fragment
    data: bytes
    look: bool
    listen: bool
    since: int

    @property
    def hear(self) -> bool:
        """Whether it has sound."""
        return not SOUND.isdisjoint(self.event.codec.split(","))


class _Known(msgspec.Struct):
    feed_id: str = ""
    end: int = 0
    listen_until: int = 0
    looked_at: int = -1 << 62


class Agenda:
    """See the module.

    Args:
        every_ms: Least time between two pictures of a recorder.
        max_bytes: Of what waits.
    """

    def __init__(self, every_ms: int, max_bytes: int = MAX_BYTES) -> None:
        self._every_ms = every_ms
        self._max_bytes = max_bytes
        self._known: dict[str, _Known] = {}
        self._speech: deque[Task] = deque()  # bounded by bytes: `_make_room`
        self._pictures: dict[str, Task] = {}  # one a recorder, first come first; bounded by bytes too
        self._bytes = 0
        self.shed = 0

    def __len__(self) -> int:
        """Return how many fragments wait."""
        return len(self._speech) + len(self._pictures)

    def offer(self, event: Fragment, data: bytes, now: int) -> None:
        """Take in a fragment, the newest of its recorder.

        Args:
            event: Its event.
            data: Its bytes.
            now: Wall clock, milliseconds since 1970.
        """
        known = self._meet(event)
        task = Task(event, data, look=now - known.looked_at >= self._every_ms, listen=False, since=now)
        if task.hear and event.captured_at < known.listen_until:
            if task.look:
                known.looked_at = now
                self._forget(event.recorder_id)
            self._speech.append(msgspec.structs.replace(task, listen=True))
        elif task.look:
            self._replace(task)
        else:
            return
        self._bytes += len(data)
        self._make_room()

    def take(self, now: int) -> Task | None:
        """Return what is next; None where nothing waits."""
        if self._speech:
            task = self._speech.popleft()
            self._bytes -= len(task.data)
            return task
        while self._pictures:
            recorder_id, task = next(iter(self._pictures.items()))
            del self._pictures[recorder_id]
            self._bytes -= len(task.data)
            if now - task.since > STALE_MS:
                self.shed += 1
                continue
            self._meet(task.event).looked_at = now
            return task
        return None

    def _meet(self, event: Fragment) -> _Known:
        known = self._known.pop(event.recorder_id, None) or _Known()
        self._known[event.recorder_id] = known  # now the most recently used
        if len(self._known) > MAX_RECORDERS:
            del self._known[next(iter(self._known))]
        if event.feed_id != known.feed_id or event.captured_at > known.end + BREAK_MS:
            known.listen_until = event.captured_at + LISTEN_MS
        known.feed_id = event.feed_id
        known.end = max(known.end, event.captured_at + round(1000 * event.duration_s))
        return known

    def _replace(self, task: Task) -> None:
        before = self._pictures.get(task.event.recorder_id)
        if before is not None:
            self._bytes -= len(before.data)
            self.shed += 1
        self._pictures[task.event.recorder_id] = task  # keeps its place in line

    def _forget(self, recorder_id: str) -> None:
        before = self._pictures.pop(recorder_id, None)
        if before is not None:
            self._bytes -= len(before.data)
            self.shed += 1

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            task = self._pictures.pop(next(iter(self._pictures))) if self._pictures else self._speech.popleft()
            self._bytes -= len(task.data)
            self.shed += 1
