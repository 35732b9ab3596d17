"""Lists cut down to what somebody may see: to their recorders in the database, where these are few, then row by row.

An officer's recordings are their own by when they had the recorder, which only a row's time tells. So every row is
looked at, and a page is filled up from what follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from dashboards.parts import Parts
from dashboards.people.rights import RIGHTS, Person, Place, Right, Role
from domain.clock import Instant
from storage.catalog.rows import Page

T = TypeVar("T")

MAX_NAMED = 2_000
"""Recorders that a question to the database names; of more it asks for all, and the rows are looked at here."""
MAX_ROUNDS = 20
"""Times that a page is filled up; then it is given as it is, with the cursor for what follows."""


def sees_all(person: Person, right: Right) -> bool:
    """Tell whether somebody holds a right in the whole agency."""
    return any(
        right in RIGHTS[duty.role] and not duty.unit_id and not duty.site_id and duty.role is not Role.OFFICER
        for duty in person.duties
    )


def named(parts: Parts, person: Person, right: Right) -> list[str] | None:
    """Return the recorders that may be asked for; None where rows must tell, or all may be seen."""
    if sees_all(person, right) or any(duty.role is Role.OFFICER for duty in person.duties):
        return None
    mine = [one for one in parts.fleet.recorders if person.may_at(right, parts.place(one))]
    return mine if len(mine) <= MAX_NAMED else None


async def filled(
    ask: Callable[[str | None, int], Awaitable[Page[T]]],
    may: Callable[[T], bool],
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """Return the first `limit` rows that may be seen.

    Args:
        ask: Returns a page from a cursor on, of so many rows.
        may: Tells of a row.
        cursor: Where to begin.
        limit: How many are wanted.
    """
    kept: list[T] = []
    for _ in range(MAX_ROUNDS):
        page = await ask(cursor, limit - len(kept))
        kept += [row for row in page.items if may(row)]
        cursor = page.cursor
        if cursor is None or len(kept) >= limit:
            break
    return Page(kept, cursor)


async def session_place(parts: Parts, recorder_id: str, session_id: str) -> Place:
    """Return where a session was recorded, and whose the recorder was when it began."""
    recorder = parts.fleet.recorders.get(recorder_id)
    session = None if recorder is None else recorder.sessions.get(session_id)
    if session is not None:
        return parts.place(recorder_id, Instant(session.opened_at))
    row = await parts.catalog.get_session(recorder_id, session_id)
    return parts.place(recorder_id, None if row is None else row.opened_at)
