"""What becomes of an alert: pure. It reads no clock and writes nothing; `docs/design/alerts.md` says why it is so.

Functions change the alert that they are given, and return what there is to write into its history and to tell.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dashboards.alerts.signal import Signal, digest
from domain.alerts import RANK, Alert, Line, Member, What

GROUP_WAIT_MS = 300
"""What comes so soon after the first of it is told together with it."""
GATHER_MS = 75_000
"""Recorders that join so soon after the first are covered by its message: a minute, and what order and ticks add."""
DIGEST_MS = 300_000
"""Least time between two messages of one alert that only add to it."""
HOLD_MS = 600_000
"""What cleared must hold so long before the alert is resolved; what comes back before is the same alert."""
TOO_OLD_MS = 86_400_000
"""What was over so long ago when it is first heard of is in the list, and nobody is told."""
MAX_MEMBERS = 2_000
"""Recorders that an alert knows one by one; further ones are counted."""

QuietUntil = Callable[[str, str], "int | None"]
"""Until when all is quiet about a kind of finding of a recorder; None where it is not."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for an alert.

    Attributes:
        ack_within_ms: How long each level has to acknowledge, by severity; where one is missing it is not escalated.
        levels: How many levels there are.
        quiet_until: Asks for maintenance.
    """

    ack_within_ms: dict[str, int]
    levels: int = 1
    quiet_until: QuietUntil = lambda _recorder, _kind: None


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell.

    Attributes:
        what: What of.
        number: Of the alert's messages, from 1.
        level: To whom: those of this level for `escalated`, of all up to it otherwise.
    """

    what: What
    number: int
    level: int


class Outcome(msgspec.Struct):
    """What a step gave.

    Attributes:
        lines: For the history.
        says: To be told.
        wake_at: When the alert wants to be looked at again; None where nothing is to come.
    """

    lines: list[Line] = msgspec.field(default_factory=list)
    says: list[Say] = msgspec.field(default_factory=list)
    wake_at: int | None = None


# -- what is found ----------------------------------------------------------------------------------------------


def belongs(alert: Alert | None, signal: Signal) -> bool:
    """Tell whether a signal that opens something belongs to its group's newest alert, or begins a new one."""
    if alert is None:
        return False
    if alert.state != "resolved":
        return alert.quiet_since is None or signal.about.detected_at - alert.quiet_since < HOLD_MS
    return bool(alert.resolved_by) and signal.about.detected_at - (alert.resolved_at or 0) < HOLD_MS


def begin(signal: Signal, now: int) -> Alert:
    """Return the alert that a signal begins; `take` it next."""
    about = signal.about
    return Alert(
        id=digest(signal.group, about.id),
        group=signal.group,
        family=signal.family,
        scope=signal.scope,
        site_id=signal.site_id,
        unit_id=signal.unit_id,
        severity=about.severity,
        opened_at=now,
        since=about.began_at,
        gather_until=about.detected_at + GATHER_MS,
        runbook=signal.runbook,
        summary=signal.summary,
    )


def take(alert: Alert, signal: Signal, now: int, *, known: bool) -> Outcome:
    """Take in what was found.

    Args:
        alert: That it belongs to.
        signal: What was found, newer than what was heard of it before.
        now: The time.
        known: The alert has heard of this finding before.
    """
    outcome = Outcome()
    about = signal.about
    alert.updated_at = now
    _widen(alert, signal, known=known)
    if about.status == "closed":
        if not known:
            _join(alert, signal, now, outcome, known=known)
        _close(alert, signal)
    else:
        _join(alert, signal, now, outcome, known=known)
    return outcome


def _widen(alert: Alert, signal: Signal, *, known: bool) -> None:
    about = signal.about
    alert.findings += not known
    alert.since = min(alert.since, about.began_at)
    if about.kind not in alert.kinds:
        alert.kinds.append(about.kind)
    alert.clauses += [clause for clause in about.clauses if clause not in alert.clauses]


def _join(alert: Alert, signal: Signal, now: int, outcome: Outcome, *, known: bool) -> None:
    about = signal.about
    member = alert.members.get(about.recorder_id)
    if alert.state == "resolved":
        if known and RANK[about.severity] <= RANK[alert.severity]:
            return  # it was resolved as it is
        begin_again(alert, now, outcome, by="", note="")
    if RANK[about.severity] > RANK[alert.severity]:
        alert.severity = about.severity
    is_first = member is None
    if member is None:
        if len(alert.members) >= MAX_MEMBERS:
            alert.more += 1
            return
        member = alert.members[about.recorder_id] = Member()
    _make_news(alert, member, signal, now, is_first=is_first)
    # A gap that a stall left behind does not keep the alert open: it stays a gap, whoever looks after it.
    if is_first or about.kind != "recording.gap" or about.id in member.holding:
        member.holding[about.id] = about.severity
        if alert.quiet_since is not None:
            alert.quiet_since = None
            alert.flaps += 1
    member.last_at = max(member.last_at, about.detected_at)


def _make_news(alert: Alert, member: Member, signal: Signal, now: int, *, is_first: bool) -> None:
    about = signal.about
    lasts = member.holding and about.kind != "recording.gap"
    again = not is_first and not lasts and about.detected_at - member.last_at >= HOLD_MS
    worse = RANK[about.severity] > max(RANK[member.told], RANK[member.news])
    if not is_first and not again and not worse:
        return
    covered = alert.told_at is not None and about.detected_at <= alert.gather_until
    if covered and RANK[about.severity] <= RANK[alert.told]:
        member.told = about.severity
        return
    member.news_at = now if member.news_at is None else member.news_at
    member.news, member.kind = about.severity, about.kind


def _close(alert: Alert, signal: Signal) -> None:
    about = signal.about
    member = alert.members.get(about.recorder_id)
    if member is None:
        return
    member.holding.pop(about.id, None)
    member.last_at = max(member.last_at, about.detected_at)
    if alert.state != "resolved" and not any(each.holding for each in alert.members.values()):
        alert.quiet_since = about.detected_at


# -- what time brings -------------------------------------------------------------------------------------------


def advance(alert: Alert, now: int, terms: Terms) -> Outcome:
    """Do what is due, and say when to look again."""
    outcome = Outcome()
    if alert.state != "resolved":
        _tell_news(alert, now, terms, outcome)
        _escalate(alert, now, terms, outcome)
        _clear(alert, now, outcome)
    outcome.wake_at = wake_at(alert, now, terms)
    return outcome


def _tell_news(alert: Alert, now: int, terms: Terms, outcome: Outcome) -> None:
    muted, loud = _sort_news(alert, now, terms)
    was_muted = alert.muted_until
    alert.muted_until = max(muted.values(), default=None) if alert.told_at is None and not loud else None
    if alert.muted_until is not None and was_muted is None:
        outcome.lines.append(Line(at=now, what="muted", facts={"until": alert.muted_until}))
    elif was_muted is not None and alert.muted_until is None:
        outcome.lines.append(Line(at=now, what="unmuted"))
    due_at = _due_at(alert, loud)
    if due_at is None or due_at > now:
        return
    worst = max((alert.members[name].news for name in loud), key=RANK.__getitem__)
    what = "opened" if alert.told_at is None else _what(alert, worst)
    if not alert.told and not muted:
        worst = alert.severity  # it is told with all that it has, from before somebody resolved it too
    say(alert, what, now, outcome)
    if RANK[worst] > RANK[alert.told]:
        alert.told = worst
        _wait_for_somebody(alert, now, terms)
    alert.told_at = now
    for name in loud:
        member = alert.members[name]
        member.told, member.news_at, member.news = member.news, None, ""


def _what(alert: Alert, worst: str) -> What:
    if not alert.told:
        return "reopened"
    return "worse" if RANK[worst] > RANK[alert.told] else "more"


def _sort_news(alert: Alert, now: int, terms: Terms) -> tuple[dict[str, int], list[str]]:
    """Return recorders whose news must wait for the end of maintenance, with that end, and those that need not."""
    muted: dict[str, int] = {}
    loud: list[str] = []
    for name, member in alert.members.items():
        if member.news_at is None:
            continue
        until = terms.quiet_until(name, member.kind)
        if until is not None:
            muted[name] = until
        elif not member.holding and (alert.muted_until is not None or now - member.last_at > TOO_OLD_MS):
            member.news_at, member.news = None, ""  # over before anybody could be told
        else:
            loud.append(name)
    return muted, loud


def _due_at(alert: Alert, loud: list[str]) -> int | None:
    times = [at for name in loud if (at := alert.members[name].news_at) is not None]
    if not times:
        return None
    soon = min(times) + GROUP_WAIT_MS
    if alert.told_at is None:
        return soon
    worse = [
        at
        for name in loud
        if RANK[alert.members[name].news] > RANK[alert.told] and (at := alert.members[name].news_at) is not None
    ]
    if worse:
        return min(worse) + GROUP_WAIT_MS
    return max(soon, alert.told_at + DIGEST_MS)


def _wait_for_somebody(alert: Alert, now: int, terms: Terms) -> None:
    """Begin the time in which somebody must acknowledge; what got worse must be acknowledged anew."""
    if alert.state == "acknowledged":
        alert.state = "opened"
    within = terms.ack_within_ms.get(alert.severity)
    alert.escalate_at = None if within is None else now + within


def _escalate(alert: Alert, now: int, terms: Terms, outcome: Outcome) -> None:
    if alert.state != "opened" or alert.escalate_at is None or alert.escalate_at > now:
        return
    if alert.quiet_since is not None:
        return  # it cleared; it is escalated if it comes back
    within = terms.ack_within_ms.get(alert.severity)
    if alert.level + 1 >= terms.levels or within is None:
        alert.escalate_at = None
        return
    alert.level += 1
    alert.escalate_at = now + within
    say(alert, "escalated", now, outcome)


def _clear(alert: Alert, now: int, outcome: Outcome) -> None:
    if alert.quiet_since is None or now < alert.quiet_since + HOLD_MS:
        return
    alert.state, alert.resolved_at, alert.resolved_by = "resolved", now, ""
    alert.updated_at, alert.escalate_at, alert.muted_until = now, None, None
    outcome.lines.append(Line(at=now, what="cleared", facts={"since": alert.quiet_since}))
    if alert.told_at is not None:
        say(alert, "resolved", now, outcome)


def wake_at(alert: Alert, now: int, terms: Terms) -> int | None:
    """Return when an alert wants to be looked at again; None where nothing is to come."""
    if alert.state == "resolved":
        return None
    muted, loud = _sort_news(alert, now, terms)
    times = [_due_at(alert, loud), min(muted.values(), default=None)]
    if alert.state == "opened" and alert.quiet_since is None:
        times.append(alert.escalate_at)
    if alert.quiet_since is not None:
        times.append(alert.quiet_since + HOLD_MS)
    return min((at for at in times if at is not None), default=None)


# -- used by acts of people too ------------------------------------------------------------------------------------


def begin_again(alert: Alert, now: int, outcome: Outcome, *, by: str, note: str) -> None:
    """Open a resolved alert again."""
    alert.state, alert.resolved_at, alert.resolved_by = "opened", None, ""
    alert.acknowledged_by, alert.acknowledged_at = "", None
    alert.updated_at, alert.level, alert.quiet_since = now, 0, None
    alert.told = ""
    for member in alert.members.values():
        member.told = ""
    outcome.lines.append(Line(at=now, by=by, what="reopened", note=note))


def say(alert: Alert, what: What, now: int, outcome: Outcome) -> None:
    """Have something told."""
    alert.said += 1
    alert.updated_at = now
    outcome.says.append(Say(what=what, number=alert.said, level=alert.level))
    if what in ("opened", "more", "worse", "escalated"):
        outcome.lines.append(Line(at=now, what=what, facts={"level": alert.level}))
