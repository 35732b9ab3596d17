"""What people do with requests for footage: each step judged, said in the ledger, and only then done.

1. **Judge**: may they, here, and is it possible where the request stands (`storage.office.request_steps`).
2. **Say**: an entry of kind `act`. Where it cannot be said nothing is done.
3. **Keep**: the request in the office's database.

A crash between 2 and 3 leaves an entry of something that did not take effect; whoever wanted it does it again, and the
second entry changes nothing in the register, which is folded from the entries in their order.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from dashboards.parts import Parts
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Forbidden, Missing
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Hold
from domain.ids import check_recorder_id, check_session_id
from domain.wire import to_builtins
from policies.access import Step, Want, Way, way
from policies.model import Applicant, Policy
from storage.office import requests
from storage.office.request_steps import (
    Application,
    Decision,
    Paper,
    Request,
    ask,
    break_off,
    decide,
    deliver,
    revoke,
    withdraw,
)
from storage.office.requests import Kept

STEP_RIGHTS: dict[Step, tuple[Right, ...]] = {
    "verify": (Right.FOOTAGE_EXPORT, Right.FOOTAGE_DECIDE),
    "review": (Right.FOOTAGE_DECIDE,),
    "approve": (Right.FOOTAGE_DECIDE,),
}
"""Papers are looked at by the archive manager too (Zhanhe Z-AC 第三条); what is decided takes the right to decide."""
HOLD_REASON = 500
BY_ITSELF = "console"
"""Who says in the ledger what no person does."""
SEE_RIGHTS = (Right.FOOTAGE_DECIDE, Right.FOOTAGE_EXPORT, Right.FOOTAGE_REGISTER)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody filled in; see `Application`."""

    recorder_id: str
    session_id: str
    from_at: Instant
    to_at: Instant
    who: Applicant
    want: Want
    reason: str
    matter: str
    use: str = ""
    applicant: str = ""
    organisation: str = ""


class RequestDesk:
    """See the module.

    Args:
        parts: Of this console.
        on_granted: Called when a copy is to be made.
        hold: Keeps footage from being deleted.
    """

    def __init__(self, parts: Parts, on_granted: Callable[[], None], hold: Callable[[Hold], Awaitable[object]]) -> None:
        self._parts = parts
        self._on_granted = on_granted
        self._hold = hold

    def policy(self, recorder_id: str) -> Policy:
        """Return the policy of a recorder; the settings' of one that is not known."""
        known = self._parts.fleet.recorders.get(recorder_id)
        named = None if known is None else self._parts.book.find(known.policy)
        return named or self._parts.book.policy(self._parts.settings.policy)

    def needed(self, recorder_id: str, who: Applicant, want: Want, *, own: bool) -> Way:
        """Return what it takes to be granted something.

        Raises:
            InvalidInput: The policy does not open it; names the article.
        """
        policy = self.policy(recorder_id)
        found = way(policy, who, want)
        if found is None:
            seen = way(policy, who, "view")
            clauses = "、".join(seen.clauses) if seen is not None else ""
            raise InvalidInput(f"want: {policy.name}: {clauses}: not open to {who}", "want")
        if found.own_only and not own:  # nothing shows that it is theirs: somebody says so
            return msgspec.structs.replace(found, steps=("approve",))
        return found

    async def ask(self, person: Person, form: Form, papers: Sequence[Paper]) -> Kept:
        """Take an application.

        Raises:
            InvalidInput: Something is missing or wrong, or it is not open; names the field.
        """
        check_recorder_id(form.recorder_id)
        check_session_id(form.session_id)
        await self._check_there(person, form)
        place = self._parts.place(form.recorder_id, form.from_at)
        own = person.account_id in place.officers
        takes = self.needed(form.recorder_id, form.who, form.want, own=own)
        lacking = [label for label in takes.papers if label not in {paper.label for paper in papers}]
        if lacking:
            raise InvalidInput(f"papers: {'、'.join(takes.clauses)}: {'、'.join(lacking)}", "papers")
        now = self._parts.clock.now()
        application = Application(
            id=secrets.token_hex(8),
            **msgspec.structs.asdict(form),
            unit_id=place.unit_id,
            site_id=place.site_id,
            policy=self.policy(form.recorder_id).name,
            asked_by=person.account_id,
            asked_name=person.name,
            asked_at=now,
            papers=tuple(papers),
            own=own,
            rule=takes.rule or "",
            steps=takes.steps,
            reviewer=takes.reviewer,
            approver=takes.approver,
            clauses=takes.clauses,
        )
        made = ask(application, self.days)
        facts = {"request": to_builtins(application), "days": self.days}
        await self._say(person, "request.asked", application, facts)
        kept = await requests.add(self._parts.office, made)
        self._wake(kept)
        return kept

    @property
    def days(self) -> int:
        """How long a grant holds where nobody says."""
        return self._parts.settings.grant_days

    async def get(self, person: Person, one: str) -> Kept:
        """Return a request.

        Raises:
            Missing: There is none, or they may not see it.
        """
        kept = await requests.get(self._parts.office, one)
        if kept is None or not self.sees(person, kept):
            raise Missing(f"no request {one}")
        return kept

    def sees(self, person: Person, kept: Kept) -> bool:
        """Tell whether somebody may see a request: their own, or one in their keeping."""
        asked = kept.request.application
        return asked.asked_by == person.account_id or any(person.may_at(right, _place(asked)) for right in SEE_RIGHTS)

    def may_decide(self, person: Person, kept: Kept) -> bool:
        """Tell whether the step that a request waits for is one that somebody may take."""
        request = kept.request
        step = request.next_step
        if step is None or request.application.asked_by == person.account_id:
            return False
        if any(one.by == person.account_id for one in request.decisions):
            return False
        return any(person.may_at(right, _place(request.application)) for right in STEP_RIGHTS[step])

    def may_revoke(self, person: Person, kept: Kept) -> bool:
        """Tell whether somebody may take a grant back now."""
        now = self._parts.clock.now()
        asked = kept.request.application
        return kept.request.shown(now) == "granted" and person.may_at(Right.FOOTAGE_DECIDE, _place(asked))

    async def decide(
        self, person: Person, one: str, *, agrees: bool, acting_as: str, reason: str, days: int, step: str
    ) -> Kept:
        """Take a decision on the step that a request waits for.

        Raises:
            Missing, Forbidden: They may not.
            InvalidInput: It waits for another step, or something is missing.
        """
        if step not in STEP_RIGHTS:
            raise InvalidInput(f"step: one of {', '.join(STEP_RIGHTS)}", "step")
        kept = await self.get(person, one)
        asked = kept.request.application
        waits = kept.request.next_step
        if waits is not None and not any(person.may_at(right, _place(asked)) for right in STEP_RIGHTS[waits]):
            raise Forbidden(f"this step takes the right {Right.FOOTAGE_DECIDE}")
        said = Decision(
            step=msgspec.convert(step, Step),
            agrees=agrees,
            by=person.account_id,
            name=person.name,
            at=self._parts.clock.now(),
            acting_as=acting_as,
            reason=reason,
            days=days,
        )
        after = decide(kept.request, said, self.days)
        facts = {"request": one, "decision": to_builtins(said), "days": self.days}
        await self._hold_evidence(after)  # says so itself; a hold too many harms nobody
        await self._say(person, "request.decided", asked, facts)
        return await self._keep(kept, after)

    async def withdraw(self, person: Person, one: str) -> Kept:
        """Take back what one has asked for."""
        kept = await self.get(person, one)
        after = withdraw(kept.request, person.account_id, person.name, self._parts.clock.now())
        await self._say(person, "request.withdrawn", kept.request.application, {"request": one, "name": person.name})
        return await self._keep(kept, after)

    async def revoke(self, person: Person, one: str, reason: str) -> Kept:
        """Take a grant back."""
        kept = await self.get(person, one)
        if not person.may_at(Right.FOOTAGE_DECIDE, _place(kept.request.application)):
            raise Forbidden(f"this takes the right {Right.FOOTAGE_DECIDE}")
        after = revoke(kept.request, person.account_id, person.name, self._parts.clock.now(), reason)
        facts = {"request": one, "name": person.name, "reason": reason}
        await self._say(person, "request.revoked", kept.request.application, facts)
        return await self._keep(kept, after)

    async def deliver(self, person: Person, one: str) -> Kept:
        """Note that a copy is being handed over, before its first byte is."""
        kept = await self.get(person, one)
        if kept.packing != "ready":
            raise InvalidInput("request: there is no copy to hand over now", "request")
        after = deliver(kept.request, person.account_id, self._parts.clock.now(), kept.packed_sha256)
        facts = {"request": one, "package_sha256": kept.packed_sha256}
        await self._say(person, "request.delivered", kept.request.application, facts)
        return await self._keep(kept, after)

    async def broke_off(self, kept: Kept) -> Kept:
        """Note that handing over broke off, so that it can be done again."""
        asked = kept.request.application
        after = break_off(kept.request)
        facts = {"request": kept.id}
        note = self._parts.audit.note
        await note(BY_ITSELF, "request.broken", recorder_id=asked.recorder_id, session_id=asked.session_id, **facts)
        return await self._keep(kept, after)

    async def again(self, person: Person, one: str) -> None:
        """Have a copy made again that could not be made.

        Raises:
            Missing: It is not theirs.
            InvalidInput: Nothing failed.
        """
        kept = await self.get(person, one)
        if kept.packing != "failed" or kept.request.application.asked_by != person.account_id:
            raise InvalidInput("request: nothing of yours has failed here", "request")
        await requests.set_packing(self._parts.office, one, "waiting")
        self._on_granted()

    async def _check_there(self, person: Person, form: Form) -> None:
        """Refuse what is not there, for whoever may know; others are not told what there is."""
        if not person.may_at(Right.FOOTAGE_SEARCH, self._parts.place(form.recorder_id, form.from_at)):
            return
        found = await self._parts.catalog.list_segments(
            recorder_id=form.recorder_id,
            session_id=form.session_id,
            from_at=form.from_at,
            to_at=form.to_at,
            limit=1,
        )
        if not found.items:
            raise InvalidInput("session_id: nothing of it is stored in that time", "session_id")

    async def _hold_evidence(self, after: Request) -> None:
        """Keep what was granted as evidence: with the case file, or without end (W-AV 第三十条, Gansu 第二十三条).

        It is lifted by two people, as every hold of a case is.
        """
        asked = after.application
        if after.state != "granted" or asked.want != "evidence_copy":
            return
        event = Hold(
            at=after.decisions[-1].at,
            recorder_id=asked.recorder_id,
            session_id=asked.session_id,
            from_=asked.from_at,
            to=asked.to_at,
            reason=f"作为证据使用：{asked.matter}"[:HOLD_REASON],
            by=after.decisions[-1].by,
            released=False,
            origin="case",
            ref=asked.id,
        )
        await self._hold(event)

    async def _say(self, person: Person, what: str, asked: Application, facts: dict[str, Any]) -> None:
        await self._parts.audit.note(person, what, recorder_id=asked.recorder_id, session_id=asked.session_id, **facts)

    async def _keep(self, before: Kept, after: Request) -> Kept:
        kept = await requests.change(self._parts.office, before, after)
        self._wake(kept)
        return kept

    def _wake(self, kept: Kept) -> None:
        if kept.packing == "waiting":
            self._on_granted()


def _place(asked: Application) -> Place:
    return Place(unit_id=asked.unit_id, site_id=asked.site_id)
