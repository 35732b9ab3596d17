"""Requests for footage (调阅申请): how one moves from asked to granted, refused, used up. Pure.

    asked ── withdrawn
      │
      ├── refused
      ▼  every step agreed to, each by another person, none of them who asks
    granted ── revoked
      │   └─── (expired: nothing is written down, the time is over)
      ▼  a copy, once
    delivered ── back to granted where the download broke off

Whoever folds the acts of a request in the order of the ledger by these functions has the request: an act that is not
possible where it stands (two people decided at once, and the ledger took both) changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from policies.access import Step, Want
from policies.model import Applicant

State = Literal["asked", "refused", "withdrawn", "granted", "revoked", "delivered"]
Shown = Literal["asked", "refused", "withdrawn", "granted", "revoked", "delivered", "expired"]

MAX_DAYS = 90
"""Longest time a grant holds."""
DAY_MS = 86_400_000
EARLIEST, LATEST = Instant(0), Instant.parse("9000-01-01T00:00:00+08:00")
"""Times that people ask for lie between these: others cannot be written as a date."""
MAX_TEXT = 2_000


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was handed in.

    Attributes:
        label: What it is, in the policy's words.
        sha256: Which file, of the office's documents.
        name: What it was called.
    """

    label: str
    sha256: str
    name: str


class Application(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked for; it never changes.

    Attributes:
        id: 16 hex digits.
        recorder_id: Whose footage.
        session_id: Of which session.
        from_at: Beginning of what is asked for.
        to_at: End of it.
        unit_id: Unit of the recorder then, by which it is decided who may decide.
        site_id: Its site then.
        policy: Of the recording.
        who: Who asks.
        want: To see it, or to have it.
        asked_by: Account that asks, and that is granted it.
        asked_name: What people call them.
        asked_at: When (时间).
        applicant: Of somebody from outside: who (申请人); empty where the account asks for itself.
        organisation: Of which body they are.
        reason: Why (申请事由).
        matter: What about: case or other matter (事项).
        use: One of the policy's uses, where one was named.
        papers: What was handed in.
        own: The records show that it is their own work.
        rule: Entry of the policy that it is asked by; empty where the document has none.
        steps: Who must agree, in order.
        reviewer: Who that is for `review`, in the document's words.
        approver: Who that is for `approve`, in the document's words.
        clauses: Articles.
    """

    id: str
    recorder_id: str
    session_id: str
    from_at: Instant
    to_at: Instant
    policy: str
    who: Applicant
    want: Want
    asked_by: str
    asked_name: str
    asked_at: Instant
    reason: str
    matter: str
    unit_id: str = ""
    site_id: str = ""
    applicant: str = ""
    organisation: str = ""
    use: str = ""
    papers: tuple[Paper, ...] = ()
    own: bool = False
    rule: str = ""
    steps: tuple[Step, ...] = ()
    reviewer: str = ""
    approver: str = ""
    clauses: tuple[str, ...] = ()

    def title(self, step: Step) -> str:
        """Return as what somebody takes a step, in the document's words; empty where it names nobody."""
        return self.approver if step == "approve" else self.reviewer if step == "review" else ""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody's word on a step.

    Attributes:
        step: Which.
        agrees: Yes or no.
        by: Account.
        name: What people call them.
        at: When.
        acting_as: As what they say they decide: the document's words, where it names somebody.
        reason: Why; must be there for a no.
        days: For how long, where they say so.
    """

    step: Step
    agrees: bool
    by: str
    name: str
    at: Instant
    acting_as: str = ""
    reason: str = ""
    days: int = 0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An application, and what became of it.

    Attributes:
        application: What is asked for.
        state: Where it stands, apart from the time being over.
        decisions: In order.
        expires_at: Until when a grant holds; None before it is given.
        closed_by: Account that withdrew or revoked it.
        closed_name: What people call them.
        closed_at: When.
        closed_reason: Why.
        delivered_at: When the copy was handed over.
        package_sha256: Of that copy's list (`package.json`).
        broken: How often handing it over broke off.
    """

    application: Application
    state: State = "asked"
    decisions: tuple[Decision, ...] = ()
    expires_at: Instant | None = None
    closed_by: str = ""
    closed_name: str = ""
    closed_at: Instant | None = None
    closed_reason: str = ""
    delivered_at: Instant | None = None
    package_sha256: str = ""
    broken: int = 0

    @property
    def next_step(self) -> Step | None:
        """What it waits for."""
        left = self.application.steps[len(self.decisions) :]
        return left[0] if self.state == "asked" and left else None

    def shown(self, now: Instant) -> Shown:
        """Return where it stands now."""
        over = self.state == "granted" and self.expires_at is not None and now >= self.expires_at
        return "expired" if over else self.state

    def lets_view(self, now: Instant) -> bool:
        """Tell whether it lets whoever asked see the recording now."""
        return self.application.want == "view" and self.shown(now) == "granted"

    def wants_package(self, now: Instant) -> bool:
        """Tell whether a copy is to be made, or waits to be fetched."""
        return self.application.want != "view" and self.shown(now) == "granted"


def ask(application: Application, days: int) -> Request:
    """Begin a request.

    Args:
        application: What is asked for.
        days: How long it holds where nobody has to agree.

    Raises:
        InvalidInput: Something is missing or wrong; names the field.
    """
    _check(application)
    made = Request(application=application)
    return made if application.steps else _granted(made, application.asked_at, days)


def decide(request: Request, decision: Decision, days: int) -> Request:
    """Take a decision in.

    Args:
        request: As it stands.
        decision: On the step that it waits for.
        days: How long a grant holds where the decision says nothing of it.

    Raises:
        InvalidInput: It waits for no such step, or they may not take it, or a reason is missing.
    """
    asked = request.application
    step = request.next_step
    if step is None or step != decision.step:
        raise InvalidInput(f"step: the request waits for {step or 'nobody'}, not for {decision.step}", "step")
    if decision.by == asked.asked_by:
        raise InvalidInput("decision: nobody decides on a request of their own", "decision")
    if any(one.by == decision.by for one in request.decisions):
        raise InvalidInput("decision: each step is taken by another person", "decision")
    if not decision.agrees and not decision.reason.strip():
        raise InvalidInput("reason: a refusal says why", "reason")
    if len(decision.reason) > MAX_TEXT:
        raise InvalidInput(f"reason: at most {MAX_TEXT} characters", "reason")
    title = asked.title(step)
    if decision.acting_as != title:
        raise InvalidInput(f"acting_as: {'、'.join(asked.clauses)}: {title or 'nobody'} decides this", "acting_as")
    if not 0 <= decision.days <= MAX_DAYS:
        raise InvalidInput(f"days: 1 to {MAX_DAYS}", "days")
    after = msgspec.structs.replace(request, decisions=(*request.decisions, decision))
    if not decision.agrees:
        return msgspec.structs.replace(after, state="refused")
    return after if after.next_step else _granted(after, decision.at, decision.days or days)


def withdraw(request: Request, by: str, name: str, at: Instant) -> Request:
    """Take a request back, by whoever asked, while it waits.

    Raises:
        InvalidInput: It does not wait, or is somebody else's.
    """
    if request.state != "asked" or by != request.application.asked_by:
        raise InvalidInput("request: only who asked takes it back, and only while it waits", "request")
    return _closed(request, "withdrawn", by=by, name=name, at=at, reason="")


def revoke(request: Request, by: str, name: str, at: Instant, reason: str) -> Request:
    """Take a grant back.

    Raises:
        InvalidInput: There is none that holds, or no reason.
    """
    if request.shown(at) != "granted":
        raise InvalidInput("request: nothing of it holds now", "request")
    if not reason.strip() or len(reason) > MAX_TEXT:
        raise InvalidInput("reason: who takes a grant back says why", "reason")
    return _closed(request, "revoked", by=by, name=name, at=at, reason=reason)


def deliver(request: Request, by: str, at: Instant, package_sha256: str) -> Request:
    """Hand the copy over: once, to whoever asked.

    Raises:
        InvalidInput: It is not granted, or has been handed over, or to somebody else.
    """
    if by != request.application.asked_by:
        raise InvalidInput("request: the copy is for who asked", "request")
    if not request.wants_package(at):
        raise InvalidInput("request: there is no copy to hand over now", "request")
    return msgspec.structs.replace(request, state="delivered", delivered_at=at, package_sha256=package_sha256)


def break_off(request: Request) -> Request:
    """Note that handing over broke off: it may be done again.

    Raises:
        InvalidInput: Nothing was being handed over.
    """
    if request.state != "delivered":
        raise InvalidInput("request: nothing is being handed over", "request")
    return msgspec.structs.replace(request, state="granted", delivered_at=None, broken=request.broken + 1)


def _granted(request: Request, at: Instant, days: int) -> Request:
    return msgspec.structs.replace(request, state="granted", expires_at=at.plus(days * DAY_MS))


def _closed(request: Request, state: State, *, by: str, name: str, at: Instant, reason: str) -> Request:
    closed = {"closed_by": by, "closed_name": name, "closed_at": at, "closed_reason": reason}
    return msgspec.structs.replace(request, state=state, **closed)


def _check(asked: Application) -> None:
    for field in ("reason", "matter"):
        text: str = getattr(asked, field)
        if not text.strip() or len(text) > MAX_TEXT:
            raise InvalidInput(f"{field}: 1 to {MAX_TEXT} characters", field)
    for field in ("applicant", "organisation", "use"):
        if len(getattr(asked, field)) > 200:
            raise InvalidInput(f"{field}: at most 200 characters", field)
    if asked.from_at < EARLIEST or asked.to_at >= LATEST:
        raise InvalidInput("from: no time that a recording could be of", "from")
    if asked.from_at >= asked.to_at:
        raise InvalidInput("to: must be after from", "to")
    if asked.who not in ("handler", "staff", "public") and not asked.applicant.strip():
        raise InvalidInput("applicant: who asks from outside is named", "applicant")
