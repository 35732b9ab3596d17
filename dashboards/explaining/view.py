"""Stops and explanations as pages show them: in words of one language. Pure."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

import msgspec

from dashboards.explaining.case import OTHER, Case, methods, settling
from dashboards.explaining.stops import Interruption
from dashboards.words import Words
from domain.clock import Instant
from policies.model import Policy
from policies.values import Sourced
from storage.office.explanations import Explained

BEFORE_MS = 30_000
"""Playing a stop begins this long before it."""

Badge = Literal["critical", "warning", "notice", "recording", "idle"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list.

    Attributes:
        stop: What it is about.
        name: Of the recorder. Untrusted text.
        badge: Which sign its state has.
        sign: The sign, beside the colour.
        label: What is owed, with how much time.
        path: Of its page.
    """

    stop: Interruption
    name: str
    badge: Badge
    sign: str
    label: str
    path: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to choose, and the articles it rests on."""

    id: str
    text: str
    source: str = ""


def path(stop: Interruption) -> str:
    """Return the address of a stop's page."""
    return f"/explanations/{stop.recorder_id}/{stop.session_id}/{int(stop.stopped_at)}"


def play_path(recorder_id: str, session_id: str, at: Instant) -> str:
    """Return where the minutes around a moment are played."""
    query = urlencode({"at": at.plus(-BEFORE_MS).rfc3339()})
    return f"/sessions/{recorder_id}/{session_id}?{query}"


def row(stop: Interruption, name: str, written: list[Explained], now: Instant, w: Words) -> Row:
    """Return how a stop stands in the list."""
    badge, sign, label = _standing(stop, written, now, w)
    return Row(stop=stop, name=name or stop.recorder_id, badge=badge, sign=sign, label=label, path=path(stop))


def _standing(stop: Interruption, written: list[Explained], now: Instant, w: Words) -> tuple[Badge, str, str]:
    if settling(stop, written, now):
        return "notice", "◐", w("explanations", "settling")
    if stop.state in ("overdue", "due") and any(
        one.state == "awaiting" and stop.meant(one.stopped_at) for one in written
    ):
        return "warning", "◆", w("explanations", "awaiting")
    match stop.state:
        case "overdue" if stop.due_at is not None:
            late = w("explanations", "overdue", time=w.span((now - stop.due_at) / 1000))
            return ("notice" if stop.unruled else "critical"), "▲", late
        case "awaiting":
            return "warning", "◆", w("explanations", "awaiting")
        case "due" | "overdue":
            return "idle", "◔", left(stop.due_at, now, w)
        case "spoken":
            return "recording", "✓", w("explanations", "spoken")
    return "recording", "✓", w("explanations", "explained")


def left(due_at: Instant | None, now: Instant, w: Words) -> str:
    """Say how much time there is, or by how much it is over."""
    if due_at is None:
        return w("explanations", "after_end")
    key, seconds = ("left", (due_at - now) / 1000) if due_at > now else ("overdue", (now - due_at) / 1000)
    return w("explanations", key, time=w.span(seconds))


def causes(policy: Policy, w: Words) -> list[Choice]:
    """Return the causes that the policy lists, each with its article; another one where the list is open."""
    listed = [
        Choice(id=one.id, text=cause_text(policy, one.id, w), source=source(one, w)) for one in policy.stops.causes
    ]
    if policy.stops.open.value or not policy.stops.regulated.value:
        listed.append(Choice(id=OTHER, text=w("explanations", "other"), source=source(policy.stops.open, w)))
    return listed


def cause_text(policy: Policy, cause: str, w: Words) -> str:
    """Say a cause: in Chinese in the document's own words."""
    known = policy.cause(cause)
    if known is not None and w.code == "zh":
        return known.zh
    return w("explanations", "other") if cause == OTHER else w("stop_cause", cause)


def ways(policy: Policy, w: Words) -> list[Choice]:
    """Return the ways in which a stop may be explained afterwards."""
    return [
        Choice(
            id=name,
            text=w("explanation_way", name),
            source=source(getattr(policy.explanation, name).asked, w),
        )
        for name in methods(policy)
    ]


def source(value: Sourced, w: Words) -> str:
    """Name the articles of a value; of what is ours, that it is."""
    return w("explanations", "ours_short") if value.ours else " ".join(value.source)


def rules(case: Case, w: Words) -> list[Choice]:
    """Say in plain words what the rule asks of this stop, article by article."""
    clauses = [clause for one in case.stop.findings for clause in one.clauses]
    clauses = clauses or list(case.policy.articles.findings.get("recording.unexplained_stop", ()))
    return rule_lines(case.policy.name, clauses, w)


def rule_lines(policy: str, clauses: list[str], w: Words) -> list[Choice]:
    """Say articles in plain words; where there is none, that the document is silent."""
    said = []
    for clause in dict.fromkeys(clauses):
        key = f"{policy}.{clause}"
        text = w("rule", key)
        # Said under a policy that the recorder no longer has: the article alone.
        said.append(Choice(id=clause, text="" if text == key else text, source=clause))
    return said or [Choice(id="", text=w("rule", "none"))]
