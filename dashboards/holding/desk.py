"""Holds and expiries as people at the console decide them: the same ways as `liuhen hold` and `liuhen retention`.

Who may is asked here; what is decided goes into the custody ledger, by `storage.retention`, and the custody worker does
it a moment later. Nothing here writes to the catalogue.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dashboards.parts import Parts
from dashboards.people.guard import Guard
from dashboards.people.rights import Person, Right
from dashboards.query import plain
from domain.clock import Instant
from domain.errors import InvalidEvent, InvalidInput
from domain.events import Hold, HoldOrigin
from domain.ids import check_recorder_id, check_session_id
from domain.wire import decode_event, encode
from storage.catalog.register import Register
from storage.catalog.rows import ExpiryRow, HoldRow
from storage.office import releases
from storage.office.releases import Request
from storage.retention.desk import Desk
from storage.retention.entries import ApprovalBody
from storage.retention.releasing import MAX_REASON, Releasing
from storage.retention.retention import Retention

MAX_SESSIONS = 50
"""Sessions of one recorder that one span may hold at once."""
MAX_LISTED = 2_000
"""Objects that have come to their end that are listed at most; the command line has them all."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that stands, and whether somebody asks for its release.

    Attributes:
        hold: The hold.
        asked: The request; None where nobody asks.
    """

    hold: HoldRow
    asked: Request | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What has come to its end of one session, in one state and class.

    Attributes:
        recorder_id: Whose footage.
        session_id: Of which session.
        state: `review`: a person decides; `listed`: it is deleted after its time on the list.
        retention_class: Its class.
        objects: How many.
        due_at: When the first one's time was over.
        listed_at: When the first one came on the list.
    """

    recorder_id: str
    session_id: str
    state: str
    retention_class: str
    objects: int
    due_at: Instant
    listed_at: Instant


class HoldDesk:
    """See the module.

    Args:
        parts: What the console is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._register = Register(parts.catalog)
        retention = Retention(
            parts.store,
            parts.catalog,
            parts.ledger,
            clock=parts.clock,
            policy_of=self._policy_of,
            book=parts.book,
        )
        self._desk = Desk(retention)
        self._releasing = Releasing(self._desk, parts.office, parts.ledger, parts.clock)

    # -- asking -----------------------------------------------------------------------------------------------------

    async def page(
        self, person: Person, origin: HoldOrigin | None, cursor: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        """Return a page of the holds that stand where somebody may see them, and where the next one begins."""
        asked = await releases.undecided(self._parts.office)
        found: list[Standing] = []
        while len(found) < limit:
            page = await self._register.list_holds(origin=origin, cursor=cursor, limit=limit)
            seen = [one for one in page.items if self._sees(person, one.recorder_id)]
            found += [Standing(hold=one, asked=asked.get(one.id)) for one in seen]
            cursor = page.cursor
            if cursor is None:
                break
        return found, cursor

    async def asked(self, person: Person) -> list[Standing]:
        """Return the holds whose release somebody asks for, the longest asked first."""
        found = []
        for request in (await releases.undecided(self._parts.office)).values():
            hold = await self._register.hold(request.hold_id)
            if hold is not None and self._sees(person, hold.recorder_id):
                found.append(Standing(hold=hold, asked=request))
        return found

    async def decided(self, person: Person) -> list[Request]:
        """Return the requests decided last."""
        found = await releases.decided(self._parts.office)
        return [one for one in found if self._sees(person, one.recorder_id)]

    async def ended(self, person: Person) -> list[Ended]:
        """Return what has come to its end and waits, session by session; what a person must decide first."""
        rows: list[ExpiryRow] = []
        cursor: str | None = None
        while len(rows) < MAX_LISTED:
            page = await self._register.list_expiries("review", "listed", cursor=cursor, limit=500)
            rows += [row for row in page.items if self._sees(person, row.recorder_id)]
            cursor = page.cursor
            if cursor is None:
                break
        groups: dict[tuple[str, str, str, str], list[ExpiryRow]] = {}
        for row in rows:
            groups.setdefault((row.recorder_id, row.session_id, row.state, row.retention_class), []).append(row)
        ended = [
            Ended(
                recorder_id=key[0],
                session_id=key[1],
                state=key[2],
                retention_class=key[3],
                objects=len(some),
                due_at=min(row.due_at for row in some),
                listed_at=min(row.listed_at for row in some),
            )
            for key, some in groups.items()
        ]
        return sorted(ended, key=lambda one: (one.state != "review", one.listed_at, one.recorder_id, one.session_id))

    def side_ms(self, recorder_id: str) -> int:
        """Return how much either side of a finding the recorder's policy holds."""
        book = self._parts.book
        policy = book.find(self._policy_of(recorder_id)) or book.policy(self._parts.settings.policy)
        return policy.retention.finding_hold.each_side.ms()

    # -- doing ------------------------------------------------------------------------------------------------------

    async def set(
        self,
        person: Person,
        *,
        recorder_id: str,
        session_id: str = "",
        from_at: Instant | None = None,
        to_at: Instant | None = None,
        reason: str,
        case: str = "",
    ) -> list[str]:
        """Hold footage; without a session, that of every session in the span. Returns the ids of the holds.

        Raises:
            Missing: Whoever asks may not, there.
            InvalidInput: Nothing is known of it, or the span ends before it begins; names the field.
            Unavailable: Nothing, or not all, was held; said again it is the same.
        """
        check_recorder_id(recorder_id)
        Guard.check(person, Right.HOLD_SET, self._parts.place(recorder_id), f"recorder {recorder_id}")
        case = plain(case, "case").strip()
        sessions = [session_id] if session_id else await self._sessions(recorder_id, from_at, to_at)
        now = self._parts.clock.now()
        events = [
            Hold(
                at=now,
                recorder_id=recorder_id,
                session_id=one,
                from_=from_at,
                to=to_at,
                reason=_reason(reason),
                by=person.account_id,
                released=False,
                origin="case" if case else "person",
                ref=case or None,
            )
            for one in sessions
        ]
        return [await self._desk.hold(_checked(event)) for event in events]

    async def ask(self, person: Person, hold_id: str, reason: str) -> Request:
        """Ask for the release of a hold.

        Raises:
            Missing: Whoever asks may not, there.
            InvalidInput: As `Releasing.ask`.
        """
        await self._check(person, hold_id)
        return await self._releasing.ask(hold_id, by=person.account_id, reason=_reason(reason))

    async def confirm(self, person: Person, hold_id: str, remark: str = "") -> Request:
        """Confirm a release that another person asked for.

        Raises:
            Missing: Whoever asks may not, there.
            InvalidInput: As `Releasing.confirm`; it is their own request.
        """
        await self._check(person, hold_id)
        return await self._releasing.confirm(hold_id, by=person.account_id, remark=plain(remark, "reason"))

    async def refuse(self, person: Person, hold_id: str, remark: str = "") -> Request:
        """Refuse a release, or withdraw one's own request.

        Raises:
            Missing: Whoever asks may not, there.
            InvalidInput: As `Releasing.refuse`.
        """
        await self._check(person, hold_id)
        return await self._releasing.refuse(hold_id, by=person.account_id, remark=plain(remark, "reason"))

    async def decide(
        self,
        person: Person,
        *,
        recorder_id: str,
        session_id: str,
        decision: Literal["delete", "keep"],
        listed_until: Instant,
        reason: str,
        document: str = "",
        again_at: Instant | None = None,
    ) -> int:
        """Decide about what has come to its end and was seen on the list; returns how many objects it is about.

        Raises:
            Missing: Whoever asks may not, there.
            InvalidInput: None of them awaits it, or evidence goes without a signed decision.
        """
        check_recorder_id(recorder_id)
        check_session_id(session_id)
        Guard.check(person, Right.EXPIRY_DECIDE, self._parts.place(recorder_id), f"recorder {recorder_id}")
        body = ApprovalBody(
            of="deletion",
            decision=decision,
            listed_until=min(listed_until, self._parts.clock.now()),
            by=person.account_id,
            reason=_reason(reason),
            document=plain(document, "document").strip()[:200] or None,
            again_at=again_at if decision == "keep" else None,
        )
        return await self._desk.decide(recorder_id, session_id, body)

    # -- how --------------------------------------------------------------------------------------------------------

    async def _check(self, person: Person, hold_id: str) -> None:
        hold = await self._register.hold(hold_id)
        place = self._parts.place("" if hold is None else hold.recorder_id)
        Guard.check(person, Right.HOLD_RELEASE, place, f"hold {hold_id}")

    async def _sessions(self, recorder_id: str, from_at: Instant | None, to_at: Instant | None) -> list[str]:
        recorder = self._parts.fleet.recorders.get(recorder_id)
        found = [
            session.session_id
            for session in (recorder.sessions.values() if recorder is not None else ())
            if (to_at is None or session.opened_at <= to_at)
            and (from_at is None or session.ended_at is None or session.ended_at >= from_at)
        ]
        cursor: str | None = None
        while len(found) < MAX_SESSIONS:
            page = await self._parts.catalog.list_segments(
                recorder_id=recorder_id, from_at=from_at, to_at=to_at, cursor=cursor, limit=500
            )
            found += list({row.session_id for row in page.items} - set(found))
            cursor = page.cursor
            if cursor is None:
                break
        if not found:
            msg = f"session: no footage of {recorder_id} is known in this span"
            raise InvalidInput(msg, "session")
        return found[:MAX_SESSIONS]

    def _sees(self, person: Person, recorder_id: str) -> bool:
        place = self._parts.place(recorder_id)
        return any(person.may_at(right, place) for right in (Right.HOLD_SET, Right.HOLD_RELEASE, Right.EXPIRY_DECIDE))

    def _policy_of(self, recorder_id: str) -> str:
        recorder = self._parts.fleet.recorders.get(recorder_id)
        return recorder.policy if recorder is not None and recorder.policy else self._parts.settings.policy


def _reason(text: str) -> str:
    reason = plain(text, "reason").strip()
    if not reason or len(reason) > MAX_REASON:
        msg = f"reason: 1 to {MAX_REASON} characters"
        raise InvalidInput(msg, "reason")
    return reason


def _checked(event: Hold) -> Hold:
    """Return an event as the log would read it, so that what is too long or no id is refused by its field."""
    try:
        read = decode_event(encode(event))
    except InvalidEvent as error:
        raise InvalidInput(str(error), error.field) from error
    if not isinstance(read, Hold):
        msg = f"a hold was read back as {type(read).__name__}"
        raise TypeError(msg)
    return read
