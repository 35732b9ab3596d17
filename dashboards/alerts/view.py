"""Alerts as pages and the API show them."""

from __future__ import annotations

from itertools import islice

import msgspec

from domain.alerts import Alert, AlertFinding, Line
from domain.clock import Instant
from storage.office.outbox import Sent

MAX_RECORDERS = 100


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it is shown; what the fields are `domain.alerts.Alert` says.

    Attributes:
        recorders: Recorders in it, the first 100.
        recorder_count: All of them.
        open_findings: How many findings keep it open.
    """

    id: str
    state: str
    severity: str
    family: str
    scope: str
    group: str
    site_id: str
    unit_id: str
    kinds: list[str]
    clauses: list[str]
    recorders: list[str]
    recorder_count: int
    findings: int
    open_findings: int
    flaps: int
    opened_at: Instant
    since: Instant
    updated_at: Instant
    quiet_since: Instant | None
    muted_until: Instant | None
    told_at: Instant | None
    escalate_at: Instant | None
    level: int
    assignee: str
    acknowledged_by: str
    acknowledged_at: Instant | None
    resolved_by: str
    resolved_at: Instant | None
    runbook: str
    summary: str


class AlertDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An alert with all that is known of it.

    Attributes:
        alert: Itself.
        findings: What it rests on, the first 1,000 by time.
        history: What happened to it, the oldest first.
        messages: What was sent of it, or is to be: to whom, by which channel, with which result.
    """

    alert: AlertView
    findings: list[AlertFinding]
    history: list[Line]
    messages: list[Sent]


def view(alert: Alert) -> AlertView:
    """Return what is shown of an alert."""
    return AlertView(
        id=alert.id,
        state=alert.state,
        severity=alert.severity,
        family=alert.family,
        scope=alert.scope,
        group=alert.group,
        site_id=alert.site_id,
        unit_id=alert.unit_id,
        kinds=alert.kinds,
        clauses=alert.clauses,
        recorders=list(islice(alert.members, MAX_RECORDERS)),
        recorder_count=len(alert.members) + alert.more,
        findings=alert.findings,
        open_findings=sum(len(member.holding) for member in alert.members.values()),
        flaps=alert.flaps,
        opened_at=Instant(alert.opened_at),
        since=Instant(alert.since),
        updated_at=Instant(alert.updated_at),
        quiet_since=_instant(alert.quiet_since),
        muted_until=_instant(alert.muted_until),
        told_at=_instant(alert.told_at),
        escalate_at=_instant(alert.escalate_at),
        level=alert.level,
        assignee=alert.assignee,
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=_instant(alert.acknowledged_at),
        resolved_by=alert.resolved_by,
        resolved_at=_instant(alert.resolved_at),
        runbook=alert.runbook,
        summary=alert.summary,
    )


def _instant(at: int | None) -> Instant | None:
    return None if at is None else Instant(at)
