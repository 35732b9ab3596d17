"""What a person decides about retention, and what they may ask: the work of `liuhen hold` and `liuhen retention`.

A decision is an entry of the custody ledger, durable when the call returns; the custody worker does what it says a
moment later (`Retention.follow`). Nothing here writes to the catalogue, which on one machine has one writer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Classified, Hold
from storage.catalog.rows import ExpiryRow, HoldRow, ObjectRow
from storage.ledger.entry import decode
from storage.retention import entries
from storage.retention.holds import by_two, hold_id
from storage.retention.retention import Retention
from storage.retention.rules import Blocker, blockers, due_at
from storage.retention.standing import STRENGTH, standing

_PAGE = 500


class Why(msgspec.Struct, frozen=True):
    """One object, and why it is still there.

    Attributes:
        row: The object.
        due_at: When its time is over; None where nothing says so.
        blockers: What keeps it; empty where its time is over.
    """

    row: ObjectRow
    due_at: Instant | None
    blockers: list[Blocker]


class Desk:
    """See the module."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._register = retention.register
        self._ledger = retention.ledger

    async def hold(self, event: Hold) -> str:
        """Set a hold; returns its id.

        Raises:
            InvalidInput: The session is not known, or the span ends before it begins.
        """
        if event.from_ is not None and event.to is not None and event.to < event.from_:
            msg = "to: before the span begins"
            raise InvalidInput(msg, "to")
        await self._check_session(event.recorder_id, event.session_id)
        one = hold_id(event.recorder_id, event)
        await self._ledger.append([entries.of_event(event, one)])
        return one

    async def standing(self, one: str) -> HoldRow:
        """Return a hold that stands.

        Raises:
            InvalidInput: No such hold stands.
        """
        hold = await self._register.hold(one)
        if hold is None or all(known.id != one for known in await self._register.holds(hold.recorder_id)):
            msg = f"hold: no hold {one!r} stands"
            raise InvalidInput(msg, "hold")
        return hold

    async def release(self, one: str, *, at: Instant, by: str, confirmed_by: str, reason: str) -> None:
        """Lift a hold, as two people have decided: `storage.retention.releasing` gathers them.

        Raises:
            InvalidInput: No such hold stands, or one person would be both.
        """
        hold = await self.standing(one)
        event = Hold(
            at=at,
            recorder_id=hold.recorder_id,
            session_id=hold.session_id or "",
            reason=reason,
            by=by,
            released=True,
            origin=hold.origin,
            ref=hold.ref,
            hold_id=one,
            confirmed_by=confirmed_by,
        )
        if not by_two(event):
            msg = "by: it takes a second person to lift a hold"
            raise InvalidInput(msg, "by")
        entry = entries.of_event(event)
        await self._ledger.append([msgspec.structs.replace(entry, session_id=hold.session_id)])

    async def classify(self, event: Classified) -> None:
        """Decide the class of a session.

        Raises:
            InvalidInput: The session is not known, or a weaker class comes without a signed decision.
        """
        await self._check_session(event.recorder_id, event.session_id)
        known = standing(await self._register.decisions(event.recorder_id, event.session_id))
        weaker = event.class_ != "unknown" and STRENGTH[event.class_] < STRENGTH[known.strongest]
        if weaker and event.document is None:
            msg = f"document: from {known.strongest} to {event.class_} only by a signed decision"
            raise InvalidInput(msg, "document")
        await self._ledger.append([entries.of_event(event)])

    async def decide(self, recorder_id: str, session_id: str, body: entries.ApprovalBody) -> int:
        """Decide what happens to the objects of a session that have come to their end; returns how many it is about.

        Raises:
            InvalidInput: None of them awaits this decision, or evidence is to be deleted without a signed decision.
        """
        rows = [row async for row in self._listed(recorder_id, session_id) if body.key in {None, row.key}]
        states = {"review"} if body.decision == "delete" else {"review", "listed"}
        meant = [row for row in rows if row.state in states and row.listed_at <= body.listed_until]
        if not meant:
            msg = "session: nothing of it awaits this decision"
            raise InvalidInput(msg, "session")
        if body.decision == "delete" and body.document is None and any(r.retention_class != "ordinary" for r in meant):
            msg = "document: evidence is deleted only by a signed decision"
            raise InvalidInput(msg, "document")
        at = body.listed_until
        await self._ledger.append([entries.approval(at, recorder_id, session_id, body)])
        return len(meant)

    async def holds(self, recorder_id: str, session_id: str | None = None, *, released: bool = False) -> list[HoldRow]:
        """Return the holds on a recorder's footage, or on a session's."""
        found = await self._register.holds(recorder_id, released=released)
        return [one for one in found if session_id is None or one.session_id in {None, session_id}]

    async def why(self, recorder_id: str, session_id: str, now: Instant) -> list[Why]:
        """Return why each object of a session is still there."""
        found = []
        async for row in self._retention.objects.of(recorder_id, session_id):
            facts = await self._retention.facts(row)
            found.append(Why(row, due_at(facts), blockers(facts, now)))
        return found

    async def receipt(self, key: str) -> dict[str, Any]:
        """Return what proves that an object was deleted: the entry, and the way from it to a signed checkpoint.

        Raises:
            InvalidInput: It was not deleted, or no checkpoint covers the receipt yet.
        """
        row = await self._retention.objects.get(key)
        index = None if row is None else await self._ledger.find(entries.receipt_id(row))
        if index is None:
            msg = f"key: {key} was not deleted"
            raise InvalidInput(msg, "key")
        checkpoint = await self._ledger.latest_checkpoint()
        if checkpoint is None or checkpoint.size <= index:
            msg = f"key: {key} was deleted; its receipt is entry {index}, and the next checkpoint will sign it"
            raise InvalidInput(msg, "key")
        line = b""
        async for _, line in self._ledger.read(index, index + 1):
            decode(line)
        return {
            "entry": line.decode(),
            "index": index,
            "checkpoint": checkpoint.note,
            "proof": [one.hex() for one in await self._ledger.inclusion(index, checkpoint.size)],
        }

    async def _listed(self, recorder_id: str, session_id: str) -> AsyncIterator[ExpiryRow]:
        cursor = None
        while True:
            page = await self._register.list_expiries(
                recorder_id=recorder_id, session_id=session_id, cursor=cursor, limit=_PAGE
            )
            for row in page.items:
                yield row
            if (cursor := page.cursor) is None:
                return

    async def _check_session(self, recorder_id: str, session_id: str) -> None:
        catalog = self._retention.catalog
        if await catalog.get_session(recorder_id, session_id) is not None:
            return
        async for _ in self._retention.objects.of(recorder_id, session_id):
            return
        msg = f"session: nothing is known of {session_id!r} of {recorder_id!r}"
        raise InvalidInput(msg, "session")
