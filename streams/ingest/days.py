"""Sessions of cameras that nobody opens and closes: one a calendar day of China, `<recorder>-<YYYYMMDD>`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from domain.clock import CHINA, Instant
from domain.events import (
    AnyRecorderEvent,
    Explanation,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    StopReason,
)
from streams.ingest.feeds import Feed
from streams.ingest.muxer import CutFragment
from streams.ingest.sessions import SessionBook

GRACE_MS: Final = 300_000
"""After midnight, so long a day may still get its last fragments; then it is ended even if no media comes."""
_DAY = re.compile(r"-(\d{8})$")


def day_session(recorder_id: str, moment: Instant) -> str:
    """Return the session of a recorder's calendar day."""
    return f"{recorder_id}-{moment.datetime():%Y%m%d}"


def midnight_after(session_id: str) -> Instant | None:
    """Return when the day of a session ends, None where the session is not one of a day."""
    found = _DAY.search(session_id)
    if found is None:
        return None
    try:
        day = datetime.strptime(found.group(1), "%Y%m%d").replace(tzinfo=CHINA)
    except ValueError:
        return None
    return Instant.of(day + timedelta(days=1))


class DaySessions:
    """Opens, resumes, stops and ends the sessions of cameras.

    Args:
        book: What is known of sessions.
        record: Takes an event durably, and folds it into the book; may raise Unavailable.
    """

    def __init__(self, book: SessionBook, record: Callable[[AnyRecorderEvent], None]) -> None:
        self._book = book
        self._record = record

    def session_of(self, feed: Feed, fragment: CutFragment) -> str:
        """Return a fragment's session; write down, before the fragment, what begins and ends with it.

        A feed changes its session only where a segment begins: at the first keyframe at or after midnight.

        Raises:
            Unavailable: The events were not taken.
        """
        current = feed.session_id
        is_first = feed.last_captured_at is None
        if not is_first and not fragment.starts_segment:
            return current
        session_id = day_session(feed.recorder_id, fragment.captured_at)
        if not is_first or self._book.state(session_id) == "ended":
            session_id = max(session_id, current)
        self._end_before(feed, session_id, fragment.learnt_at)
        self._begin(feed.recorder_id, session_id, fragment.learnt_at)
        return session_id

    def end_past(self, recorder_id: str, now: Instant) -> None:
        """End days that are over, where no media does it.

        Raises:
            Unavailable: The events were not taken.
        """
        for session_id in self._days(recorder_id):
            midnight = midnight_after(session_id)
            if midnight is not None and now >= midnight.plus(GRACE_MS):
                self._record(
                    SessionEnded(at=now, recorder_id=recorder_id, session_id=session_id, completed_at=midnight)
                )

    def stopped(self, feed: Feed, now: Instant, *, for_maintenance: bool) -> None:
        """Write down that we stop recording.

        Raises:
            Unavailable: The event was not taken.
        """
        last = feed.last_captured_at
        if last is None or self._book.state(feed.session_id) != "open":
            return
        reason: StopReason = "maintenance" if for_maintenance else "server"
        event = SessionStopped(
            at=now, recorder_id=feed.recorder_id, session_id=feed.session_id, reason=reason, last_captured_at=last
        )
        self._record(event)

    def explained(self, feed: Feed, now: Instant, reason: str, by: str) -> None:
        """Write down why, where somebody decided that recording stops; right behind the stop.

        Raises:
            Unavailable: The event was not taken.
        """
        last = feed.last_captured_at
        if last is None or self._book.state(feed.session_id) != "stopped":
            return
        event = Explanation(
            at=now,
            recorder_id=feed.recorder_id,
            session_id=feed.session_id,
            method="written",
            cause="other",
            text=reason,
            by=by,
            approved_by=by,
            stopped_at=last,
        )
        self._record(event)

    def _begin(self, recorder_id: str, session_id: str, at: Instant) -> None:
        match self._book.state(session_id):
            case None:
                self._record(SessionOpened(at=at, recorder_id=recorder_id, session_id=session_id))
            case "stopped":
                self._record(SessionResumed(at=at, recorder_id=recorder_id, session_id=session_id))
            case _:
                pass

    def _end_before(self, feed: Feed, session_id: str, at: Instant) -> None:
        for earlier in self._days(feed.recorder_id):
            midnight = midnight_after(earlier)
            if earlier >= session_id or midnight is None:
                continue
            last = feed.last_captured_at if earlier == feed.session_id else None
            self._record(
                SessionEnded(at=at, recorder_id=feed.recorder_id, session_id=earlier, completed_at=last or midnight)
            )

    def _days(self, recorder_id: str) -> list[str]:
        return [one for one in self._book.open_sessions(recorder_id) if _is_day(one, recorder_id)]


def _is_day(session_id: str, recorder_id: str) -> bool:
    return session_id.startswith(recorder_id) and _DAY.fullmatch(session_id, len(recorder_id)) is not None
