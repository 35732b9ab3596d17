"""How long a segment is locked, by policy. A lock is only the least: a longer class lengthens it later."""

from __future__ import annotations

from dateutil.relativedelta import relativedelta

from domain.clock import Instant
from policies.clauses import DEFAULT
from policies.loader import load, names
from policies.model import Policy


def lock_months(policy: Policy) -> int:
    """Return for how many months every segment is locked at least, whatever class it turns out to have.

    The figure of ordinary recordings, where the document has one; the floor (ours) where it has none.
    """
    ordinary = policy.retention.ordinary.months
    return max(ordinary or 0, policy.retention.floor.months())


def retain_until(completed: Instant, policy: str | Policy = DEFAULT) -> Instant:
    """Return until when footage completed at this moment must at least be locked (calendar months, China time).

    Args:
        completed: When the recording was completed.
        policy: The recorder's policy, or its name; an unknown name is locked like the default.
    """
    known = policy if isinstance(policy, Policy) else load(policy if policy in names() else DEFAULT)
    return Instant.of(completed.datetime() + relativedelta(months=lock_months(known)))
