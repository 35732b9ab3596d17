"""How long a recorder's footage may still stay out of the store, by its policy. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dashboards.recorder import Recorder, Session
from domain.clock import Instant
from domain.errors import InvalidInput
from policies.deadlines import store_by
from policies.local import Rulebook
from policies.values import Approval

DEFAULT_POLICY = "wucheng"
"""Judges recorders whose own policy is none, as the detectors do."""
_REMEMBERED = 65_536
"""Sessions whose store-by time is kept; the one unused for longest is counted anew."""


class _Times(NamedTuple):
    """What a store-by time is reckoned from."""

    completed: int
    remote: bool
    returned: int | None
    leaves: tuple[tuple[int, int, str], ...]


class Deadlines:
    """Store-by times of the sessions that are completed and not all stored.

    Args:
        book: The policies in force.
    """

    def __init__(self, book: Rulebook) -> None:
        self._book = book
        self._store_by = lru_cache(_REMEMBERED)(self._counted)

    def store_by(self, recorder: Recorder) -> int | None:
        """Return the earliest time by which something of a recorder must be stored; None where there is none."""
        owed = (one for one in recorder.sessions.values() if one.ended_at is not None and recorder.owes(one))
        times = (self._of(recorder, session) for session in owed)
        return min((time for time in times if time is not None), default=None)

    def seconds_left(self, recorder: Recorder, now: Instant) -> float | None:
        """Return the seconds until then, negative when it is over."""
        until = self.store_by(recorder)
        return None if until is None else (until - now) / 1000

    def _of(self, recorder: Recorder, session: Session) -> int | None:
        times = _Times(session.ended_at or 0, session.remote, session.returned_at, tuple(session.leaves))
        return self._store_by(recorder.policy, recorder.kind or "body_worn", times)

    def _counted(self, policy: str, kind: str, times: _Times) -> int | None:
        completed, remote, returned, leaves = times
        try:
            deadline = store_by(
                self._book.find(policy) or self._book.policy(DEFAULT_POLICY),
                kind,
                Instant(completed),
                remote=remote,
                returned=None if returned is None else Instant(returned),
                approvals=[Approval(approved_at=Instant(at), until=Instant(until), by=by) for at, until, by in leaves],
                calendar=self._book.calendar,
            )
        except InvalidInput:  # a device may claim to have completed a recording in any century
            return None
        return None if deadline.store_by is None else int(deadline.store_by)
