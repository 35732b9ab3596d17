"""When each check of the policies in use is due, and whether it was made. Pure.

A check that a document wants every so many months is due at the end of each such part of the calendar year: every half
year (W-AV 第三十二条) is January to June and July to December. Where it only says 定期 there is no due time; what was
made is listed by half years, which is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Literal, NamedTuple

import msgspec

from domain.clock import CHINA, Instant
from policies.model import Check, Policy
from storage.office.supervision import Draw, Result

State = Literal["done", "begun", "due", "overdue", "none"]
"""none: nothing made, and no figure says when."""
USUAL_MONTHS = 6


class Span(NamedTuple):
    """Part of a year.

    Attributes:
        first: Its first day.
        last: Its last day.
    """

    first: date
    last: date

    @property
    def start(self) -> Instant:
        """Beginning of the first day, China time."""
        return Instant.of(datetime.combine(self.first, time(), CHINA))

    @property
    def end(self) -> Instant:
        """End of the last day."""
        return Instant.of(datetime.combine(self.last + timedelta(days=1), time(), CHINA))


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One check in one part of the year.

    Attributes:
        policy: Whose.
        check: Which.
        span: When.
        state: Whether it was made.
        due_on: By when; None where no figure says.
        draws: Made in it, the newest first.
    """

    policy: str
    check: Check
    span: Span
    state: State
    due_on: date | None
    draws: tuple[Draw, ...]


def span_of(day: date, months: int | None) -> Span:
    """Return the part of the year that a day lies in."""
    length = min(12, months or USUAL_MONTHS)
    month = (day.month - 1) // length * length + 1
    first = date(day.year, month, 1)
    after = date(day.year + (month + length - 1) // 12, (month + length - 1) % 12 + 1, 1)
    return Span(first, after - timedelta(days=1))


def is_done(draw: Draw, results: Iterable[Result]) -> bool:
    """Tell whether everything that was drawn has a result."""
    return {item.name for item in draw.drawn} <= {result.item for result in results}


def schedule(
    policies: Iterable[Policy], draws: Sequence[Draw], results: dict[str, list[Result]], now: Instant
) -> list[Due]:
    """Return each check in the part of the year that is now and in the one before; what is overdue stands first."""
    today = now.datetime().date()
    listed: list[Due] = []
    for policy in policies:
        for check in policy.checks:
            current = span_of(today, check.months)
            for span in (span_of(current.first - timedelta(days=1), check.months), current):
                mine = [one for one in draws if (one.policy, one.check_id) == (policy.name, check.id)]
                made = tuple(one for one in mine if one.from_at < span.end and span.start < one.to_at)
                listed.append(
                    Due(
                        policy=policy.name,
                        check=check,
                        span=span,
                        state=_state(check, span, made, results, today),
                        due_on=span.last if check.months else None,
                        draws=made,
                    )
                )
    order: list[State] = ["overdue", "begun", "due", "none", "done"]
    return sorted(listed, key=lambda one: (order.index(one.state), one.span, one.policy))


def _state(check: Check, span: Span, made: Sequence[Draw], results: dict[str, list[Result]], today: date) -> State:
    if any(is_done(one, results.get(one.id, [])) for one in made):
        return "done"
    if check.months and today > span.last:
        return "overdue"
    if made:
        return "begun"
    return "due" if check.months else "none"
