"""Lifting a hold takes two people: one asks, another one confirms. The one way for `liuhen hold` and the console.

Each step is said in the custody ledger first, then kept; the release itself is an entry that names both, and is what
the custody worker follows. Who they are, the console knows from their accounts; on the command line it is what
whoever has the terminal says, and stands in the ledger as said.
"""

from __future__ import annotations

import secrets

from domain.clock import Clock
from domain.errors import InvalidInput
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger
from storage.office import releases
from storage.office.office import Office
from storage.office.releases import Request
from storage.retention.desk import Desk

MAX_REASON = 2_000


class Releasing:
    """See the module.

    Args:
        desk: Of retention.
        office: Where requests are kept.
        ledger: Where all is said.
        clock: When.
    """

    def __init__(self, desk: Desk, office: Office, ledger: Ledger, clock: Clock) -> None:
        self._desk, self._office, self._ledger, self._clock = desk, office, ledger, clock

    async def ask(self, hold_id: str, *, by: str, reason: str) -> Request:
        """Ask for the release of a hold; nothing is lifted yet.

        Raises:
            InvalidInput: No such hold stands, it was asked for already, or no reason is given.
            Unavailable: Nothing was asked.
        """
        hold = await self._desk.standing(hold_id)
        if await releases.asked(self._office, hold_id) is not None:
            msg = "hold: somebody has asked for its release already"
            raise InvalidInput(msg, "hold")
        request = Request(
            id=secrets.token_hex(16),
            hold_id=hold_id,
            recorder_id=hold.recorder_id,
            session_id=hold.session_id,
            state="asked",
            asked_by=by,
            asked_at=self._clock.now(),
            reason=_reason(reason),
        )
        await self._note("hold.release_asked", request, by, request.reason)
        await releases.ask(self._office, request)
        return request

    async def confirm(self, hold_id: str, *, by: str, remark: str = "") -> Request:
        """Confirm what another person asked for: the hold is lifted.

        Raises:
            InvalidInput: Nobody asked, the hold is gone, or it is whoever asked.
            Unavailable: The request stands, and may be confirmed again.
        """
        request = await self._asked(hold_id)
        # The entry names both, and is refused where they are one; said twice after a crash it lifts nothing twice.
        await self._desk.release(
            hold_id, at=self._clock.now(), by=request.asked_by, confirmed_by=by, reason=request.reason
        )
        return await self._decided(request, "confirmed", by, remark)

    async def refuse(self, hold_id: str, *, by: str, remark: str = "") -> Request:
        """Refuse what was asked for, or withdraw it where it is one's own: the hold stands.

        Raises:
            InvalidInput: Nobody asked.
            Unavailable: The request stands.
        """
        request = await self._asked(hold_id)
        own = request.asked_by.strip().casefold() == by.strip().casefold()
        await self._note("hold.release_withdrawn" if own else "hold.release_refused", request, by, remark)
        return await self._decided(request, "withdrawn" if own else "refused", by, remark)

    async def _asked(self, hold_id: str) -> Request:
        request = await releases.asked(self._office, hold_id)
        if request is None:
            msg = f"hold: nobody has asked for the release of {hold_id!r}"
            raise InvalidInput(msg, "hold")
        return request

    async def _decided(self, request: Request, state: releases.State, by: str, remark: str) -> Request:
        said = remark.strip()[:MAX_REASON] or None
        return await releases.decide(self._office, request.id, state, by=by, at=self._clock.now(), remark=said)

    async def _note(self, what: str, request: Request, by: str, reason: str) -> None:
        body = {"what": what, "by": by, "hold": request.hold_id, "reason": reason}
        entry = Entry(
            kind="act",
            at=self._clock.now(),
            recorder_id=request.recorder_id,
            session_id=request.session_id,
            body=body,
        )
        await self._ledger.append([entry])


def _reason(text: str) -> str:
    reason = text.strip()
    if not reason or len(reason) > MAX_REASON:
        msg = f"reason: 1 to {MAX_REASON} characters"
        raise InvalidInput(msg, "reason")
    return reason
