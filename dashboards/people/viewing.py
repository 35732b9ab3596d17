"""Who was shown which footage: in the custody ledger before the bytes are served, and refused where it cannot be.

A person who watches a recording asks for a part of it every few seconds; that is one access. So each object is told
once for each viewer within `AGAIN_MS`, and again when it is watched again later.
"""

from __future__ import annotations

from collections import OrderedDict

from domain.clock import Clock, Instant
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger

AGAIN_MS = 3_600_000
MAX_REMEMBERED = 20_000
"""Viewers and objects that are remembered; beyond it the oldest is forgotten, and told again."""


class AccessLog:
    """See the module.

    Args:
        ledger: Where it is said.
        clock: When.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, str], Instant] = OrderedDict()

    async def note(self, viewer: str, recorder_id: str, session_id: str, key: str, request: str = "") -> None:
        """Say that somebody is shown an object, before it is served.

        Args:
            viewer: Who, as far as is known: the account, or the address that asked.
            recorder_id: Whose footage.
            session_id: Of which session.
            key: Object key.
            request: Id of the request under which it is shown; empty where it is by office.

        Raises:
            LedgerUnavailable: It cannot be said: serve nothing.
            IntegrityError: The ledger takes nothing more until somebody has looked at it: serve nothing.
        """
        body = {"what": "view", "by": viewer, "key": key} | ({"request": request} if request else {})
        await self._once((viewer, key, request), recorder_id, session_id, body)

    async def note_live(self, viewer: str, recorder_id: str, session_id: str | None) -> None:
        """Say that somebody is shown the live picture of a recorder, before it is served.

        Args:
            viewer: Who.
            recorder_id: Whose picture.
            session_id: Of which session; None where none is known to be open.

        Raises:
            LedgerUnavailable, IntegrityError: As for `note`.
        """
        body = {"what": "live", "by": viewer}
        await self._once((viewer, f"live {recorder_id}", session_id or ""), recorder_id, session_id, body)

    async def _once(
        self, what: tuple[str, str, str], recorder_id: str, session_id: str | None, body: dict[str, str]
    ) -> None:
        now = self._clock.now()
        told_at = self._told.get(what)
        if told_at is not None and now < told_at.plus(AGAIN_MS):
            return
        entry = Entry(kind="access", at=now, recorder_id=recorder_id, session_id=session_id, body=body)
        await self._ledger.append([entry])
        self._told[what] = now
        self._told.move_to_end(what)
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
