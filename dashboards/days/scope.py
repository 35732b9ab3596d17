"""What of a day somebody may see: all of it, or the sessions that are their own. Pure."""

from __future__ import annotations

import msgspec

from dashboards.days.day import Day


def narrowed(day: Day, mine: frozenset[str]) -> Day:
    """Return a day with these sessions alone; readings only from their time."""
    sessions = [one for one in day.sessions if one.session_id in mine]
    spans = [(one.opened_at, one.completed_at or day.to) for one in sessions]
    return msgspec.structs.replace(
        day,
        sessions=sessions,
        stretches=[one for one in day.stretches if one.session_id in mine],
        holes=[one for one in day.holes if one.session_id in mine],
        findings=[one for one in day.findings if one.session_id in mine],
        said=[one for one in day.said if one.session_id in mine],
        delivered=[one for one in day.delivered if one.session_id in mine],
        holds=[one for one in day.holds if one.session_id in mine],
        readings=[one for one in day.readings if any(start <= one.at < end for start, end in spans)],
    )
