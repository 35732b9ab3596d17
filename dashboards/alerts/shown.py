"""Alerts as pages show them: what, where, since when, what the rule says, what to do. Pure."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from dashboards.alerts.view import AlertView
from dashboards.explaining.stops import KIND as STOP
from dashboards.explaining.view import Choice, rule_lines
from dashboards.projection import Fleet
from dashboards.words import Words
from domain.alerts import RANK, AlertFinding
from domain.clock import Instant
from domain.findings import Figure

SIGNS = {"critical": "▲", "warning": "◆", "info": "●"}
STATE_ORDER = {"opened": 0, "acknowledged": 1, "resolved": 2}
BEFORE_MS = 60_000
"""Playing what led to a finding begins this long before it."""
MAX_SHOWN = 200
"""Findings of one alert that are shown; the count says how many there are."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An alert in the inbox.

    Attributes:
        alert: Itself.
        sign: Of its severity, beside the colour.
        what: What, in a few words.
        where: Which recorder, or how many. Untrusted text.
    """

    alert: AlertView
    sign: str
    what: str
    where: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of an alert.

    Attributes:
        finding: Itself.
        name: Of its recorder. Untrusted text.
        text: What was found.
        lasts_s: For how long it has lasted, or lasted.
        play: Where the minutes before and after are played; empty where nothing was recorded.
        live: Where the live picture is.
        explain: Where it is explained; empty where it is no stop.
        hold_from: From when its evidence is held, as a form's field takes it.
        hold_to: Until when.
    """

    finding: AlertFinding
    name: str
    text: str
    lasts_s: float
    play: str = ""
    live: str = ""
    explain: str = ""
    hold_from: str = ""
    hold_to: str = ""


def inbox(alerts: list[AlertView]) -> list[AlertView]:
    """Sort alerts: those that nobody looks after before the others, the worst first, of those the oldest."""
    return sorted(alerts, key=lambda one: (-RANK[one.severity], STATE_ORDER[one.state], one.since, one.id))


def row(alert: AlertView, fleet: Fleet, w: Words) -> Row:
    """Return how an alert stands in the inbox."""
    return Row(alert=alert, sign=SIGNS.get(alert.severity, "●"), what=what(alert, w), where=where(alert, fleet, w))


def what(alert: AlertView, w: Words) -> str:
    """Say in a few words what it is."""
    if alert.summary:
        return alert.summary
    return w("alerts", "and").join(w("kind_name", kind) for kind in alert.kinds) or w("notify_family", alert.family)


def where(alert: AlertView, fleet: Fleet, w: Words) -> str:
    """Name the recorder, or say how many there are."""
    first = alert.recorders[0] if alert.recorders else ""
    name = name_of(fleet, first)
    return name if alert.recorder_count <= 1 else w("alerts", "and_others", name=name, count=alert.recorder_count)


def name_of(fleet: Fleet, recorder_id: str) -> str:
    """Return what people call a recorder."""
    recorder = fleet.recorders.get(recorder_id)
    return recorder.name if recorder is not None and recorder.name else recorder_id


def finding(one: AlertFinding, fleet: Fleet, now: Instant, side_ms: int, w: Words) -> Shown:
    """Return how a finding is shown."""
    recorder = fleet.recorders.get(one.recorder_id)
    began, ended = Instant(one.began_at), one.ended_at
    params: dict[str, Figure] = dict(one.params)
    session = one.session_id or _session_at(fleet, one.recorder_id, began)
    end = Instant(ended) if ended is not None and ended > began else now
    known = recorder is not None
    at = urlencode({"at": began.plus(-BEFORE_MS).rfc3339()})
    return Shown(
        finding=one,
        name=name_of(fleet, one.recorder_id),
        text=w.finding(one.key, one.kind, params) if one.key else w("kind_name", one.kind),
        lasts_s=((ended or now) - began) / 1000,
        play=f"/sessions/{one.recorder_id}/{session}?{at}" if known and session else "",
        live=f"/?{urlencode({'recorder': one.recorder_id})}" if known else "",
        explain=f"/explanations/{one.recorder_id}/{one.session_id}/{one.began_at}" if one.kind == STOP else "",
        hold_from=_field(began.plus(-side_ms)) if known else "",
        hold_to=_field(end.plus(side_ms)) if known else "",
    )


def rules(findings: list[AlertFinding], fleet: Fleet, policy: str, w: Words) -> list[Choice]:
    """Say the articles that an alert rests on in plain words, each once.

    Args:
        findings: Of the alert.
        fleet: Knows each recorder's policy.
        policy: The installation's own, for a recorder that names none.
        w: The language.
    """
    said: dict[str, Choice] = {}
    for one in findings:
        recorder = fleet.recorders.get(one.recorder_id)
        if one.key:
            for line in rule_lines((recorder.policy if recorder is not None else "") or policy, one.clauses, w):
                said.setdefault(line.source or line.text, line)
    return list(said.values())


def advice(alert: AlertView, w: Words) -> list[str]:
    """Say what to do first."""
    if alert.family == "system":
        return [w("advice", "alertmanager")]
    return [w("advice", kind) for kind in alert.kinds]


def _session_at(fleet: Fleet, recorder_id: str, at: Instant) -> str:
    recorder = fleet.recorders.get(recorder_id)
    sessions = [] if recorder is None else list(recorder.sessions.values())
    open_then = [one for one in sessions if one.opened_at <= at and (one.ended_at is None or one.ended_at >= at)]
    return open_then[-1].session_id if open_then else ""


def _field(at: Instant) -> str:
    return at.datetime().strftime("%Y-%m-%dT%H:%M:%S")
