"""What an object is owed: how long it is locked, whether it is held, what may happen when its time is over. Pure.

1. A lock is never shorter than it was, whatever is decided.
2. An object that must stay is never without a lock: where nothing says until when, the lock is renewed again and again,
   three months at a time, so that a mistake never binds for longer than that.
3. An object comes to its end only when its class is settled, its case is closed, its time is over, and no hold, no open
   finding and no lock stands.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from dateutil.relativedelta import relativedelta

from domain.clock import Instant
from domain.events import RetentionClass
from domain.findings import Finding
from policies.model import Keep, Policy
from policies.retention import retain_until
from storage.catalog.rows import ExpiryRow, HoldRow, ObjectRow
from storage.retention.standing import Standing

DAY_MS = 86_400_000
RENEW_BEFORE_MS = 30 * DAY_MS
"""A lock that ends sooner than this is renewed where the object must stay: longer than any outage of the worker."""
RENEW_FOR_MS = 90 * DAY_MS
LONGEST_MS = 10 * 366 * DAY_MS
"""No lock reaches further at once: nobody, not even root, could undo a slip of the pen. The rest is renewed."""

Blocker = Literal[
    "policy_unknown",
    "class_unsettled",
    "long_term",
    "case_open",
    "no_period",
    "not_due",
    "held",
    "finding_open",
    "kept",
    "locked",
]
"""Why an object stays. `no_period`: nothing says for how long, such as an unknown period of the case file."""


_UNDATED = frozenset[Blocker]({"policy_unknown", "class_unsettled", "long_term", "case_open"})
"""Those that are the reason why nothing says when the time is over."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides about one object.

    Attributes:
        row: The object; `retain_until` as the store has it.
        policy: In force; None where its name is no policy's.
        standing: Class of its session.
        holds: Those on it that stand.
        findings: Open ones that are about it.
        expiry: Where it stands on the lists of what has come to its end.
    """

    row: ObjectRow
    policy: Policy | None
    standing: Standing
    holds: tuple[HoldRow, ...] = ()
    findings: tuple[Finding, ...] = ()
    expiry: ExpiryRow | None = None


class Protection(msgspec.Struct, frozen=True):
    """What the store must have.

    Attributes:
        retain_until: Locked at least until then.
        legal_hold: Held.
        tag: Value of the tag `retention`.
    """

    retain_until: Instant
    legal_hold: bool
    tag: str


def tag_of(retention_class: RetentionClass) -> str:
    """Return the value of an object's tag `retention`: `minimum` until its class is settled."""
    return "minimum" if retention_class == "unknown" else retention_class


def due_at(facts: Facts) -> Instant | None:
    """Return when an object's time is over, None where nothing says so.

    The time runs from the later of storing and the closing of the case, as no document says from when.
    """
    keep = _keep(facts)
    if keep is None or facts.standing.case_open:
        return None
    starts = max(facts.row.stored_at, facts.standing.closed_at or facts.row.stored_at)
    until = facts.standing.keep_until
    if keep.months is not None:
        own = Instant.of(starts.datetime() + relativedelta(months=keep.months))
        return max(own, until or own)
    if keep.bound in {"case_file", "set_by_organ", "archives_law"}:
        return None if until is None else max(until, _floor(facts, starts))
    return None


def blockers(facts: Facts, now: Instant) -> list[Blocker]:
    """Return everything that keeps an object from coming to its end; empty where nothing does."""
    due, expiry = due_at(facts), facts.expiry
    asked: list[tuple[Blocker, bool]] = [
        ("policy_unknown", facts.policy is None),
        ("class_unsettled", facts.standing.retention_class == "unknown"),
        ("long_term", facts.standing.retention_class == "long_term"),
        ("case_open", facts.standing.case_open),
        ("held", bool(facts.holds)),
        ("finding_open", bool(facts.findings)),
        ("not_due", due is not None and now < due),
        ("locked", now < facts.row.retain_until),
        ("kept", expiry is not None and expiry.state == "kept" and now < (expiry.again_at or now.plus(1))),
    ]
    found = [name for name, stands in asked if stands]
    if due is None and _UNDATED.isdisjoint(found):
        found.append("no_period")
    return found


def must_stay(facts: Facts, now: Instant) -> bool:
    """Tell whether an object must stay for a reason that has no date, or none that its lock reaches anyway."""
    return any(one not in {"locked", "not_due"} for one in blockers(facts, now))


def wants_review(facts: Facts) -> bool:
    """Tell whether a person decides when this object's time is over."""
    return facts.policy is None or facts.standing.retention_class in facts.policy.retention.expiry.review.value


def protection(facts: Facts, now: Instant) -> Protection:
    """Return what the store must have for an object."""
    row = facts.row
    least = retain_until(row.to_at, facts.policy) if facts.policy is not None else row.retain_until
    due = due_at(facts)
    wanted = max(row.retain_until, least, min(due or row.retain_until, now.plus(LONGEST_MS)))
    if wanted < now.plus(RENEW_BEFORE_MS) and must_stay(facts, now):
        wanted = now.plus(RENEW_FOR_MS)
    held = bool(facts.holds) or facts.standing.case_open or _awaits_decision(facts)
    return Protection(wanted, held, tag_of(facts.standing.retention_class))


def listed_ms(policy: Policy) -> int:
    """Return for how long what nobody reviews is listed before it is deleted."""
    period = policy.retention.expiry.listed_for
    return period.value * DAY_MS if period.unit == "days" else period.ms()


def _awaits_decision(facts: Facts) -> bool:
    return facts.expiry is not None and facts.expiry.state == "review"


def _keep(facts: Facts) -> Keep | None:
    return None if facts.policy is None else facts.policy.retention.keep(facts.standing.retention_class)


def _floor(facts: Facts, starts: Instant) -> Instant:
    months = facts.policy.retention.floor.months() if facts.policy is not None else 0
    return Instant.of(starts.datetime() + relativedelta(months=months))
