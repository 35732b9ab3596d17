"""Explaining a stop, and reviewing what was explained: the one way for page and API.

1. **Ask the policy** (`detectors.explanations.judge`) what the explanation comes to: refused at once, awaiting a
   review, or accepted.
2. **Say** in the custody ledger that somebody explains, or reviews.
3. **Keep** it in the office's database: from then on it does not change.
4. **Tell** the log, in the event that a device would send (`explanation`, naming the stop); the detectors close the
   finding.
5. **Note** that the log has taken it. What was killed between 3 and 5 stands as untold, and is told again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

import msgspec

from dashboards.explaining.case import OTHER, Case, Draft, elsewhere, methods
from dashboards.explaining.stops import (
    KIND,
    Interruption,
    Told,
    belongs,
    found,
    stops_of,
    told,
    upcoming,
)
from dashboards.parts import Parts
from dashboards.people.guard import Guard
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from dashboards.query import plain
from detectors.explanations import judge
from domain.clock import Instant
from domain.errors import InvalidEvent, InvalidInput, Unavailable
from domain.events import Explanation, ExplanationMethod
from domain.findings import Finding
from domain.ids import check_recorder_id, check_session_id
from domain.topics import EVENTS
from domain.wire import decode_event, encode
from policies.model import Policy
from storage.office import explanations as kept
from storage.office.explanations import Explained

logger = logging.getLogger(__name__)

AGAIN_S = 10.0
MAX_OPEN = 2_000
"""Open stops that are listed at most; the catalogue has them all."""
MAX_LISTED = 5_000
_PAGE = 500

_FIELDS = {"cause_not_listed": "cause", "no_text": "text", "way_not_accepted": "method", "not_reviewed": "method"}


class ExplanationDesk:
    """See the module.

    Args:
        parts: What the console is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # -- asking -----------------------------------------------------------------------------------------------------

    async def owed(self, person: Person) -> list[Interruption]:
        """Return what is owed of the stops that somebody may see: the longest overdue first."""
        findings = await self._findings(open_only=True, most=MAX_OPEN)
        open_stops = found(findings)
        now = self._parts.clock.now()
        listed = list(open_stops)
        for recorder in self._parts.fleet.recorders.values():
            policy = self.policy(recorder.recorder_id)
            listed += [one for one in upcoming(recorder, policy, open_stops, now) if one.state in ("due", "awaiting")]
        return sorted((one for one in listed if self._sees(person, one)), key=lambda one: one.place)

    async def past(self, person: Person, cursor: str | None, limit: int) -> tuple[list[Interruption], str | None]:
        """Return a page of stops that nothing is owed for any more, the newest first."""
        catalog = self._parts.catalog
        listed: list[Interruption] = []
        while len(listed) < limit:
            page = await catalog.list_findings(kind=KIND, cursor=cursor, limit=limit)
            settled = found(one for one in page.items if one.status == "closed")
            listed += [one for one in settled if self._sees(person, one)]
            cursor = page.cursor
            if cursor is None:
                break
        return sorted(listed, key=lambda one: -one.stopped_at), cursor

    async def case(self, person: Person, recorder_id: str, session_id: str, stopped_at: Instant) -> Case:
        """Return one stop.

        Raises:
            InvalidInput: No id of a recorder or a session.
            Missing: There is none, or not for whoever asks.
        """
        parts = self._parts
        check_recorder_id(recorder_id)
        check_session_id(session_id)
        place = parts.place(recorder_id, stopped_at)
        Guard.check(person, Right.FOOTAGE_SEARCH, place, f"stop of {recorder_id}")
        findings = await self._findings(recorder_id=recorder_id, session_id=session_id, most=MAX_LISTED)
        stops = found(findings)
        policy = self.policy(recorder_id)
        recorder = parts.fleet.recorders.get(recorder_id)
        if recorder is not None:
            stops += upcoming(recorder, policy, stops, parts.clock.now())
        stop = next((one for one in stops if one.session_id == session_id and one.meant(stopped_at)), None)
        if stop is None:
            raise Missing(f"no stop of {session_id} at {stopped_at.rfc3339()}")
        said = self._said(recorder_id, session_id, stop)
        written = await kept.of_session(parts.office, recorder_id, session_id)
        mine = [one for one in written if stop.meant(one.stopped_at)]
        return Case(stop=stop, policy=policy, place=place, written=[*mine, *elsewhere(said, mine, stop)], said=said)

    def policy(self, recorder_id: str) -> Policy:
        """Return a recorder's policy; the installation's own where it names none that is known."""
        parts = self._parts
        recorder = parts.fleet.recorders.get(recorder_id)
        own = None if recorder is None else parts.book.find(recorder.policy)
        return own or parts.book.policy(parts.settings.policy)

    def may_explain(self, person: Person, place: Place) -> bool:
        """Tell whether somebody may explain a stop: who had the recorder; where nobody had it, who answers for it."""
        if place.officers:
            return person.account_id in place.officers and person.may(Right.EXPLAIN)
        return person.may_at(Right.EXPLAIN, place)

    def may_review(self, person: Person, place: Place, written: Explained) -> bool:
        """Tell whether somebody may review an explanation: never their own."""
        mine = written.by in (person.account_id, person.name)
        return written.state == "awaiting" and not mine and person.may_at(Right.EXPLANATION_REVIEW, place)

    # -- doing ------------------------------------------------------------------------------------------------------

    async def draft(self, person: Person, case: Case, draft: Draft) -> Explained:
        """Keep a draft.

        Raises:
            Missing: Whoever asks may not explain this stop.
            InvalidInput: The draft was sent meanwhile, or a field is too long.
        """
        written = self._written(person, case, draft)
        await kept.save(self._parts.office, written)
        return written

    async def discard(self, person: Person, one: str) -> None:
        """Throw a draft of one's own away."""
        await kept.discard(self._parts.office, one, person.account_id)

    async def send(self, person: Person, case: Case, draft: Draft) -> Explained:
        """Explain a stop, for good.

        Raises:
            Missing: Whoever asks may not explain it.
            InvalidInput: The policy does not take it so; names the field.
            Unavailable: Ledger or database are away: nothing was explained. Where it is the log, it was, and is told
                again (`tell`).
        """
        written = self._written(person, case, draft)
        given = judge(case.policy, self._event(written))
        if given.outcome == "refused":
            msg = f"{_FIELDS[given.why]}: {given.why}"
            raise InvalidInput(msg, _FIELDS[given.why])
        if draft.id and (known := await kept.get(self._parts.office, draft.id)) is not None and known.state != "draft":
            msg = "explanation: what was sent stays as it is; write another"
            raise InvalidInput(msg, "explanation")
        state: kept.State = "awaiting" if given.outcome == "awaiting" else "sent"
        sent = msgspec.structs.replace(written, state=state, sent_at=written.written_at)
        facts = {"explanation": sent.id, "stopped_at": sent.stopped_at.rfc3339(), "method": sent.method}
        await self._note(person, "explanation.sent", sent, cause=sent.cause, **facts)
        await kept.save(self._parts.office, sent)
        return await self.tell(sent)

    async def review(self, person: Person, case: Case, one: str, *, approved: bool, remark: str = "") -> Explained:
        """Approve an explanation, or send it back with a reason.

        Raises:
            Missing: There is none that whoever asks may review.
            InvalidInput: It is their own, it awaits no review any more, or it goes back without a reason.
            Unavailable: As for `send`.
        """
        Guard.check(person, Right.EXPLANATION_REVIEW, case.place, "explanation")
        known = next((each for each in case.written if each.id == one), None)
        if known is None:
            raise Missing(f"no explanation {one}")
        kept.check_review(known, person.name if known.by == person.name else person.account_id)
        remark = plain(remark, "remark").strip()
        if not approved and not remark:
            msg = "remark: say why it goes back"
            raise InvalidInput(msg, "remark")
        if len(remark) > 2000:
            msg = "remark: longer than 2000 characters"
            raise InvalidInput(msg, "remark")
        what = "explanation.approved" if approved else "explanation.returned"
        await self._note(person, what, known, explanation=one, **({"remark": remark} if remark else {}))
        await kept.add(self._parts.office, known)  # where it came another way, it is not here yet
        at, by = self._parts.clock.now(), person.account_id
        after = await kept.review(self._parts.office, one, approved=approved, by=by, at=at, remark=remark or None)
        return await self.tell(after) if approved else after

    async def tell(self, written: Explained) -> Explained:
        """Tell the log what was decided, where it has not been told; see step 4.

        Raises:
            BusUnavailable: The log did not take it; it stays untold.
        """
        if not written.untold:
            return written
        await self._parts.bus.publish(EVENTS.name, written.recorder_id, encode(self._event(written)))
        at = self._parts.clock.now()
        await kept.published(self._parts.office, written.id, at)
        return msgspec.structs.replace(written, published_at=at)

    async def tell_again(self) -> int:
        """Tell the log all that it was not told for some outage or crash; returns how much that was."""
        untold = [one for one in await kept.in_state(self._parts.office, "sent", "awaiting", "approved") if one.untold]
        for one in untold:
            await self.tell(one)
        return len(untold)

    async def run(self) -> None:
        """Tell the log again, every `AGAIN_S`, what it was not told; until cancelled."""
        while True:
            try:
                await self.tell_again()
            except Unavailable as error:
                logger.warning("explanations: %s; trying again in %g s", error, AGAIN_S)
            await asyncio.sleep(AGAIN_S)

    # -- how --------------------------------------------------------------------------------------------------------

    def _written(self, person: Person, case: Case, draft: Draft) -> Explained:
        if not self.may_explain(person, case.place):
            raise Missing("no stop of yours")
        if draft.method not in methods(case.policy):
            msg = "method: way_not_accepted"
            raise InvalidInput(msg, "method")
        written = Explained(
            id=draft.id or secrets.token_hex(16),
            recorder_id=case.stop.recorder_id,
            session_id=case.stop.session_id,
            stopped_at=case.stop.stopped_at,
            state="draft",
            method=draft.method,
            cause=plain(draft.cause, "cause").strip() or OTHER,
            text=plain(draft.text, "text").strip(),
            by=person.account_id,
            written_at=self._parts.clock.now(),
        )
        self._event(written)
        return written

    def _event(self, written: Explained) -> Explanation:
        """Return the event, as the log would read it.

        Raises:
            InvalidInput: A field is too long, or no id.
        """
        method: ExplanationMethod = written.method  # type: ignore[assignment]
        event = Explanation(
            at=self._parts.clock.now(),
            recorder_id=written.recorder_id,
            session_id=written.session_id,
            method=method,
            cause=written.cause,
            by=written.by,
            text=written.text or None,
            approved_by=written.reviewed_by if written.state == "approved" else None,
            stopped_at=written.stopped_at,
        )
        try:
            read = decode_event(encode(event))
        except InvalidEvent as error:
            raise InvalidInput(str(error), error.field) from error
        if not isinstance(read, Explanation):
            msg = f"an explanation was read back as {type(read).__name__}"
            raise TypeError(msg)
        return read

    async def _note(self, person: Person, what: str, written: Explained, **facts: str) -> None:
        await self._parts.audit.note(
            person, what, recorder_id=written.recorder_id, session_id=written.session_id, **facts
        )

    def _said(self, recorder_id: str, session_id: str, stop: Interruption) -> list[Told]:
        recorder = self._parts.fleet.recorders.get(recorder_id)
        session = None if recorder is None else recorder.sessions.get(session_id)
        if session is None:
            return []
        stops = sorted({*stops_of(session), stop.stopped_at})
        policy = self.policy(recorder_id)
        return [one for one in told(session, policy) if belongs(one.event, stop.stopped_at, stops)]

    def _sees(self, person: Person, stop: Interruption) -> bool:
        return person.may_at(Right.FOOTAGE_SEARCH, self._parts.place(stop.recorder_id, stop.stopped_at))

    async def _findings(
        self,
        *,
        open_only: bool = False,
        recorder_id: str | None = None,
        session_id: str | None = None,
        most: int,
    ) -> list[Finding]:
        found_so_far: list[Finding] = []
        cursor: str | None = None
        while len(found_so_far) < most:
            page = await self._parts.catalog.list_findings(
                open_only=open_only,
                kind=KIND,
                recorder_id=recorder_id,
                session_id=session_id,
                cursor=cursor,
                limit=_PAGE,
            )
            found_so_far += page.items
            cursor = page.cursor
            if cursor is None:
                break
        return found_so_far
