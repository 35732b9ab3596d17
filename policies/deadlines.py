"""When footage must be in the store.

How time is counted, everywhere in this package:

1. The day on which recording was completed is not counted. Two days end at 24:00 China time of the second day after
   it; two working days at 24:00 of the second working day after it. 24:00 is written as 00:00 of the day after.
2. Hours are hours, from the minute.
3. Working days follow the official calendar, weekends moved to work included; a year whose notice is not known goes
   by its weekends alone, and the result says so.
4. After remote work the time runs from the return to the unit, and the later of the two ends counts: the rule is
   there to give more time, not less.
5. A leader's approval counts only if it was given before the time in force at that moment was over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from policies.model import Policy
from policies.values import Approval, Period
from policies.workdays import WorkCalendar, official

# A device may claim any time; near the ends of the calendar days can no longer be added.
_EARLIEST = Instant.parse("1900-01-01T00:00:00+08:00")
_LATEST = Instant.parse("9000-01-01T00:00:00+08:00")


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """When footage of one session must be in the store, and why.

    Attributes:
        policy: Name of the policy.
        completed: When recording was completed.
        remote: Work far away was claimed.
        returned: When the officer came back to the unit.
        store_by: The end of the time; None where the rule has no figure, does not speak of this kind of recording,
            or a remote return is not known yet.
        warn_at: When to warn; None where there is nothing to warn of.
        clauses: The articles.
        note: What a person should know of it, in Chinese; None where all is plain.
        store_by_working: Where the rule counts plain days: the end, had they been working days.
    """

    policy: str
    completed: Instant
    remote: bool
    returned: Instant | None
    store_by: Instant | None
    warn_at: Instant | None
    clauses: tuple[str, ...]
    note: str | None = None
    store_by_working: Instant | None = None

    def seconds_left(self, now: Instant) -> float | None:
        """Return the seconds until the time is over, negative after it; None where there is no such time."""
        return None if self.store_by is None else (self.store_by - now) / 1000

    def overdue(self, now: Instant) -> bool:
        """Tell whether the time is over."""
        return self.store_by is not None and now >= self.store_by

    def days_off_only(self, now: Instant) -> bool:
        """Tell whether it is over only because days off were counted."""
        return self.overdue(now) and self.store_by_working is not None and now < self.store_by_working


def store_by(
    policy: Policy,
    kind: str,
    completed: Instant,
    *,
    remote: bool = False,
    returned: Instant | None = None,
    approvals: Sequence[Approval] = (),
    calendar: WorkCalendar | None = None,
) -> Deadline:
    """Return by when footage must be in the store.

    Args:
        policy: The recorder's policy.
        kind: Kind of the recorder: body_worn, premises_camera or room_camera.
        completed: When recording was completed (`session_ended.completed_at`).
        remote: One of the rule's conditions of remote work is claimed.
        returned: When the officer came back to the unit; not before completion in effect.
        approvals: Leaders' leave to store later.
        calendar: Working days; the official calendar where not given.

    Raises:
        InvalidInput: A time beyond the years that can be counted in.
    """
    for field, moment in (("completed", completed), ("returned", returned)):
        if moment is not None and not _EARLIEST <= moment < _LATEST:
            msg = f"{field}: {moment} is outside the calendar"
            raise InvalidInput(msg, field)
    rule = policy.store_by
    blank = Deadline(
        policy=policy.name,
        completed=completed,
        remote=remote,
        returned=returned,
        store_by=None,
        warn_at=None,
        clauses=(),
    )
    if kind not in rule.kinds.value:
        return _with(blank, note=f"本规定的储存期限（{rule.wording.value}）不及此类记录")
    count = _Count(calendar or official(), completed)
    ordinary = count.end(rule.within, completed) if rule.within else None
    end, notes = _remote_end(policy, blank, ordinary)
    end, more = _approved_end(policy, end, approvals)
    working, doubt = _as_working_days(rule.within, end, completed, calendar)
    warn = _warn(policy, count, completed, end, ordinary)
    if ordinary is None and end is None and not remote:
        notes = (*notes, f"本规定只说{rule.wording.value}，没有期限；提醒时间由本系统定")
    return _with(
        blank,
        store_by=end,
        warn_at=warn,
        clauses=_clauses(policy, remote=remote, approved=bool(approvals)),
        note="；".join((*notes, *more, *doubt, *count.notes())) or None,
        store_by_working=working,
    )


def _as_working_days(
    within: Period | None, end: Instant | None, completed: Instant, calendar: WorkCalendar | None
) -> tuple[Instant | None, tuple[str, ...]]:
    """Return where plain days would have ended as working days, and what is not known of that."""
    if within is None or within.unit != "days" or end is None:
        return None, ()
    days, unknown = (calendar or official()).end_of_working_days(completed, within.value)
    doubt = tuple(f"{year}年的放假安排未知，是否只因节假日逾期按周末判断" for year in unknown)
    return max(end, days), doubt


class _Count:
    """Counts periods, and remembers which years it did not know."""

    def __init__(self, calendar: WorkCalendar, completed: Instant) -> None:
        self._calendar = calendar
        self._completed = completed
        self._unknown: set[int] = set()

    def end(self, period: Period, start: Instant) -> Instant:
        if period.unit == "working_days":
            end, unknown = self._calendar.end_of_working_days(start, period.value)
            self._unknown.update(unknown)
            return end
        if period.unit == "days":
            return self._calendar.end_of_days(start, period.value)
        return start.plus(period.ms())

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"注意：{year}年的放假安排未知，只按周末计算，可能有出入，请补充日历" for year in sorted(self._unknown)
        )


def _with(deadline: Deadline, **changes: object) -> Deadline:
    return msgspec.structs.replace(deadline, **changes)


def _remote_end(policy: Policy, asked: Deadline, ordinary: Instant | None) -> tuple[Instant | None, tuple[str, ...]]:
    rule = policy.store_by.remote
    if not asked.remote:
        return ordinary, ()
    if rule is None:
        return ordinary, ("本规定没有边远等情形的期限，按一般期限",)
    if asked.returned is None:
        return None, ("返回单位的时间未知；返回后开始计算",)
    end = max(asked.returned, asked.completed).plus(rule.within.ms())
    return (end if ordinary is None else max(end, ordinary)), ()


def _approved_end(
    policy: Policy, end: Instant | None, approvals: Sequence[Approval]
) -> tuple[Instant | None, tuple[str, ...]]:
    if not approvals or end is None:
        return end, ()
    rule = policy.store_by.delay
    if rule is None:
        return end, ("本规定没有延期批准，批准不改变期限",)
    notes = []
    for approval in sorted(approvals, key=lambda one: (one.approved_at, one.until)):
        if rule.prior.value and approval.approved_at >= end:
            notes.append(f"{plain_time(approval.approved_at)}的批准在到期以后，不算")
        elif approval.until > end:
            end = approval.until
            notes.append(f"经批准延期到{plain_time(end)}")
    return end, tuple(notes)


def _warn(
    policy: Policy, count: _Count, completed: Instant, end: Instant | None, ordinary: Instant | None
) -> Instant | None:
    rule = policy.store_by
    # While a remote return is not known, the warning comes as if the work had not been remote.
    until = end if end is not None else ordinary
    if until is not None:
        return until.plus(-round((until - completed) * rule.warn_left.value))
    return None if rule.timely is None else count.end(rule.timely, completed)


def _clauses(policy: Policy, *, remote: bool, approved: bool) -> tuple[str, ...]:
    rule = policy.store_by
    found = (rule.within or rule.wording).source
    if remote and rule.remote is not None:
        found = (*found, *rule.remote.within.source)
    if approved and rule.delay is not None:
        found = (*found, *rule.delay.approver.source)
    return tuple(dict.fromkeys(found))


def plain_time(moment: Instant) -> str:
    """Write a moment as people read it, the end of a day as 24时."""
    local = moment.datetime()
    if (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0):
        before = local - timedelta(days=1)
        return f"{before.year}年{before.month}月{before.day}日24时"
    return f"{local.year}年{local.month}月{local.day}日{local:%H:%M}"
