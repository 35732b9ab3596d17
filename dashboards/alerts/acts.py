"""What people do to an alert: pure, like `dashboards.alerts.lifecycle`. Who may, was asked before."""

from __future__ import annotations

from dashboards.alerts.lifecycle import Outcome, Terms, begin_again, say, wake_at
from domain.alerts import Alert, Line
from domain.errors import InvalidInput


def acknowledge(alert: Alert, by: str, now: int, note: str) -> Outcome:
    """Somebody looks after it; again, by whoever did so before, it changes nothing.

    Raises:
        InvalidInput: It is resolved.
    """
    _refuse_resolved(alert)
    if alert.state == "acknowledged" and alert.acknowledged_by == by and not note:
        return Outcome()
    alert.state, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", by, now
    alert.assignee = alert.assignee or by
    alert.updated_at, alert.escalate_at = now, None
    return Outcome(lines=[Line(at=now, by=by, what="acknowledged", note=note)])


def assign(alert: Alert, by: str, to: str, now: int, note: str) -> Outcome:
    """Somebody is to look after it, and is told.

    Raises:
        InvalidInput: It is resolved, or nobody is named.
    """
    _refuse_resolved(alert)
    if not to:
        raise InvalidInput("to: name an account", "to")
    alert.assignee, alert.updated_at = to, now
    outcome = Outcome(lines=[Line(at=now, by=by, what="assigned", note=note, facts={"to": to})])
    say(alert, "assigned", now, outcome)
    return outcome


def remark(alert: Alert, by: str, now: int, note: str) -> Outcome:
    """Somebody writes something down.

    Raises:
        InvalidInput: Nothing is said.
    """
    if not note.strip():
        raise InvalidInput("note: say something", "note")
    alert.updated_at = now
    return Outcome(lines=[Line(at=now, by=by, what="noted", note=note)])


def resolve(alert: Alert, by: str, now: int, note: str) -> Outcome:
    """Somebody says that it is done with; those who were told of it are told so.

    Raises:
        InvalidInput: It is resolved, or it still holds and nothing is said of why it is done with.
    """
    _refuse_resolved(alert)
    if alert.quiet_since is None and not note.strip():
        raise InvalidInput("note: it still holds; say why it is done with", "note")
    alert.state, alert.resolved_at, alert.resolved_by = "resolved", now, by
    alert.updated_at, alert.escalate_at, alert.muted_until = now, None, None
    outcome = Outcome(lines=[Line(at=now, by=by, what="resolved", note=note)])
    for member in alert.members.values():
        member.news_at, member.news = None, ""
    if alert.told_at is not None:
        say(alert, "resolved", now, outcome)
    return outcome


def reopen(alert: Alert, by: str, now: int, note: str, terms: Terms) -> Outcome:
    """Somebody says that it is not done with.

    Raises:
        InvalidInput: It is not resolved.
    """
    check_resolved(alert)
    outcome = Outcome()
    begin_again(alert, now, outcome, by=by, note=note)
    within = terms.ack_within_ms.get(alert.severity)
    alert.escalate_at = None if within is None else now + within
    say(alert, "reopened", now, outcome)
    alert.told_at, alert.told = now, alert.severity
    outcome.wake_at = wake_at(alert, now, terms)
    return outcome


def tell_party(alert: Alert, by: str, now: int, note: str, *, contacts: list[str], by_hand: list[str]) -> Outcome:
    """Somebody decided that the party is told (W-NS 第十五条).

    Args:
        alert: Of a site.
        by: Who decided.
        now: The time.
        note: What the party is told besides.
        contacts: Who of the party is told by us.
        by_hand: Who was told by the person themselves.

    Raises:
        InvalidInput: Nobody is to be told.
    """
    if not contacts and not by_hand:
        raise InvalidInput("contacts: name somebody", "contacts")
    alert.updated_at = now
    facts: dict[str, str | int | list[str]] = {"contacts": contacts, "by_hand": by_hand}
    return Outcome(lines=[Line(at=now, by=by, what="party_told", note=note, facts=facts)])


def party_confirmed(alert: Alert, by: str, now: int, note: str, *, who: str, how: str) -> Outcome:
    """Somebody of the party confirmed what it was told.

    Raises:
        InvalidInput: It is not said who did, or how.
    """
    for name, value in (("who", who), ("how", how)):
        if not value.strip():
            raise InvalidInput(f"{name}: is needed", name)
    alert.updated_at = now
    facts: dict[str, str | int | list[str]] = {"who": who, "how": how}
    return Outcome(lines=[Line(at=now, by=by, what="party_confirmed", note=note, facts=facts)])


def _refuse_resolved(alert: Alert) -> None:
    if alert.state == "resolved":
        raise InvalidInput("it is resolved; reopen it first", "state")


def check_resolved(alert: Alert) -> None:
    """Go on only if an alert is resolved.

    Raises:
        InvalidInput: It is not.
    """
    if alert.state != "resolved":
        raise InvalidInput("it is not resolved", "state")
