"""What both upload detectors share: what is said of footage that is not in the store, and when. Pure.

What is not in the store stands in `detectors.books`. The time runs from completion, or for remote work from the return,
and a leader's leave to store later moves its end (`policies.deadlines`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from detectors.books import BOOKED, Footage
from detectors.contract import Context, Step, finding, policy_of, seconds, text
from detectors.footage import length
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import AnyEvent, Backfilled, Fragment, RecorderRegistered, SegmentStored, StoringDeferred
from domain.findings import Figure, Finding, FindingKind, Severity, Status
from policies.deadlines import Deadline, store_by
from policies.values import Approval

AGAIN_AFTER_MS = 600_000
"""After it was said that all is stored, footage must be owed so long for it to be said again."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said, or is to be said, of one session that is completed.

    Attributes:
        times: What `mark` was reckoned from.
        mark: When there will be something to say; 0 for never, or not known yet.
        began: Beginning of the open finding; 0 for none.
        days_off_only: As last said.
        owed_since: Since when footage is owed again after all was stored; 0 if it never was.
        closed: It was said once that all is stored.
    """

    times: tuple[int, ...] = ()
    mark: int = 0
    began: int = 0
    days_off_only: bool = False
    owed_since: int = 0
    closed: bool = False


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of an upload detector.

    Attributes:
        claims: By session id, of those in the books that are completed.
        wake_at: When the next is due; 0 for never.
    """

    claims: dict[str, Claim] = {}
    wake_at: int = 0


class _Case(NamedTuple):
    """One session in one step."""

    name: str
    footage: Footage
    claim: Claim
    context: Context
    findings: list[Finding]

    def but(self, **changes: Any) -> _Case:
        """Return it with another claim."""
        return self._replace(claim=msgspec.structs.replace(self.claim, **changes))


class Upload:
    """An upload detector; the two differ in the moment from which they speak, and in what closing tells.

    Args:
        kind: Kind of its findings.
        overdue: It speaks when the time is over, and not when little is left.
    """

    wants = BOOKED | {RecorderRegistered}
    state_type = State

    def __init__(self, kind: FindingKind, *, overdue: bool) -> None:
        self.name = f"{kind}/2"
        self._kind = kind
        self._overdue = overdue

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        sessions = context.books.sessions
        if isinstance(event, Fragment | SegmentStored | Backfilled):
            footage = sessions.get(event.session_id)
            if footage is None or not footage.completed:  # nearly always: there is nothing to say of it yet
                return Step(before, (), before.wake_at or None)
        findings: list[Finding] = []
        claims: dict[str, Claim] = {}
        wake_at = 0
        for name, footage in sessions.items():
            if not footage.completed:
                continue
            case = _Case(name, footage, before.claims.get(name) or _NONE, context, findings)
            claims[name], due = self._judged(self._reckoned(case, event), int(event.at))
            if due is not None and due > context.now:
                wake_at = min(wake_at or due, due)
        same = wake_at == before.wake_at and len(claims) == len(before.claims)
        if same and all(before.claims.get(name) is one for name, one in claims.items()):
            return Step(before, findings, wake_at or None)
        return Step(State(claims, wake_at), findings, wake_at or None)

    def _reckoned(self, case: _Case, event: AnyEvent) -> _Case:
        """Return it with the moment that it is about; leave may have moved that, or have come too late to."""
        times, claim = case.footage.times(), case.claim
        if times == claim.times and not isinstance(event, RecorderRegistered):
            return case
        deadline = _deadline(case)
        moment = None
        if deadline is not None:
            moment = deadline.store_by if self._overdue else deadline.warn_at
        after = case.but(times=times, mark=int(moment or 0))
        if not claim.began or times == claim.times or not isinstance(event, StoringDeferred):
            return after
        if after.claim.mark <= case.context.now:
            self._say(after, "updated")
            return after
        self._say(after, "closed", int(event.at))
        return after.but(began=0, days_off_only=False)

    def _judged(self, case: _Case, at: int) -> tuple[Claim, int | None]:
        stored, now = case.footage.is_all_stored(), case.context.now
        if case.claim.began:
            if stored:
                self._say(case, "closed", at)
                return case.but(began=0, days_off_only=False, closed=True).claim, None
            return self._days_off_over(case)
        if case.claim.closed and stored != (not case.claim.owed_since):
            case = case.but(owed_since=0 if stored else now)
        claim = case.claim
        if stored or not claim.mark:
            return claim, None
        due = max(claim.mark, claim.owed_since + AGAIN_AFTER_MS) if claim.closed else claim.mark
        if due > now:
            return claim, due
        return self._days_off_over(case.but(began=max(claim.mark, claim.owed_since)), opening=True)

    def _days_off_over(self, case: _Case, *, opening: bool = False) -> tuple[Claim, int | None]:
        """Open it, or update it where it has become overdue by working days too; tell when that will be."""
        if not opening and not case.claim.days_off_only:
            return case.claim, None
        deadline = _deadline(case) if self._overdue else None
        days_off = deadline is not None and deadline.days_off_only(Instant(case.context.now))
        if opening or not days_off:
            case = case.but(days_off_only=days_off)
            self._say(case, "opened" if opening else "updated")
        later = deadline.store_by_working if deadline is not None and days_off else None
        return case.claim, None if later is None else int(later)

    def _say(self, case: _Case, status: Status, ended_at: int | None = None) -> None:
        context, claim = case.context, case.claim
        timely = policy_of(context).store_by.within is None and not case.footage.remote
        severity: Severity = "critical" if self._overdue and not claim.days_off_only else "warning"
        case.findings.append(
            finding(
                context,
                self._kind,
                status,
                began_at=claim.began,
                ended_at=ended_at,
                session_id=case.name,
                severity=severity,
                evidence=self._evidence(case, context.now if ended_at is None else max(ended_at, claim.began), status),
                key=f"{self._kind}.timely" if timely and not self._overdue else None,
            )
        )

    def _evidence(self, case: _Case, now: int, status: Status) -> dict[str, Figure]:
        footage, claim, deadline = case.footage, case.claim, _deadline(case)
        closed = status == "closed" and footage.is_all_stored()
        end = deadline.store_by if deadline is not None else None
        figures: dict[str, Figure] = {
            "completed_at": text(footage.completed),
            "store_by": text(end) if end is not None else None,
            "missing_s": 0.0 if closed else seconds(footage.missing_ms()),
            "on_device_s": seconds(length(footage.held)),
        }
        if not closed:
            figures["seconds_left"] = None if end is None else seconds(end - now)
        if footage.remote:
            figures["returned_at"] = text(footage.returned) if footage.returned else None
        if claim.days_off_only:
            figures["days_off_only"] = True
        leave = next((one for one in footage.leaves if one.until == end), None)
        if leave is not None:
            figures |= {"deferred_by": leave.by, "deferred_at": text(leave.at)}
        if deadline is not None and deadline.note:
            figures["note"] = deadline.note
        if closed and self._overdue:
            figures["late_s"] = seconds(max(0, now - (claim.began if end is None else end)))
        return figures


_NONE = Claim()


def _deadline(case: _Case) -> Deadline | None:
    footage, context = case.footage, case.context
    registration = context.knowledge.registration
    try:
        return store_by(
            policy_of(context),
            registration.kind if registration else "body_worn",
            Instant(footage.completed),
            remote=footage.remote,
            returned=Instant(footage.returned) if footage.returned else None,
            approvals=[
                Approval(approved_at=Instant(one.at), until=Instant(one.until), by=one.by) for one in footage.leaves
            ],
            calendar=context.book.calendar,
        )
    except InvalidInput:  # a device may claim to have completed a recording in any century
        return None
