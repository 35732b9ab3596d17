"""Alerts: what is told to people of findings, as it stands in the office's database. `dashboards.alerts` makes them.

Times are whole milliseconds since the epoch (plain `int`), so that an alert is saved as it stands.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.findings import Severity

AlertState = Literal["opened", "acknowledged", "resolved"]
Scope = Literal["site", "unit", "recorder", "source"]
Family = Literal[
    "connection", "power", "space", "clock", "picture", "sound", "stop", "upload", "store", "integrity", "system"
]
What = Literal["opened", "more", "worse", "escalated", "assigned", "reopened", "resolved", "party"]
"""What a message says of an alert."""

RANK: dict[str, int] = {"": 0, "info": 1, "warning": 2, "critical": 3}
"""Of severities; nothing at all is least."""

FAMILIES: dict[str, Family] = {
    "recording.stalled": "connection",
    "device.silent": "connection",
    "power.low_battery": "power",
    "storage.low_space": "space",
    "clock.drift": "clock",
    "picture.covered": "picture",
    "picture.frozen": "picture",
    "picture.moved": "picture",
    "picture.blurred": "picture",
    "sound.missing": "sound",
    "recording.unexplained_stop": "stop",
    "recording.stop_and_go": "stop",
    "upload.lagging": "upload",
    "upload.overdue": "upload",
    "store.stalled": "store",
    "integrity.broken": "integrity",
}
GAP_FAMILIES: dict[str, Family] = {
    "battery": "power",
    "storage": "space",
    "clock": "clock",
    "officer": "stop",
    "device_stop": "stop",
}
"""Of a gap, by its cause; of any other cause it is a matter of the connection."""


def family_of(kind: str, cause: str | None) -> Family:
    """Return the family of a finding; `system` where it is none of a detector's."""
    if kind == "recording.gap":
        return GAP_FAMILIES.get(cause or "", "connection")
    return FAMILIES.get(kind, "system")


class Member(msgspec.Struct, array_like=True):
    """What an alert knows of one recorder (or of one source outside the detectors).

    Attributes:
        holding: Severity of each finding that is open and keeps the alert open, by id.
        news_at: Since when something of it waits to be told; None where nothing does.
        news: Severity of that.
        kind: Kind of that.
        told: Highest severity that was told of it; empty where nothing was.
        last_at: When a finding of it last opened or closed, by the log.
    """

    holding: dict[str, str] = msgspec.field(default_factory=dict)
    news_at: int | None = None
    news: str = ""
    kind: str = ""
    told: str = ""
    last_at: int = 0


class Alert(msgspec.Struct, kw_only=True):
    """One matter that somebody has to look after.

    Attributes:
        id: Function of the group and of the finding that began it.
        group: `scope:name/family`; findings of one group belong to one alert.
        family: What kind of matter.
        scope: What `group` is about.
        site_id: Premises; empty where it is at none.
        unit_id: Enforcement unit of the recorder that began it; empty where it belongs to none.
        kinds: Kinds of finding in it.
        clauses: Articles that they rest on.
        state: Of its lifecycle.
        severity: Highest that it had.
        opened_at: When it arose here.
        since: First sign of it.
        updated_at: When anything about it last changed.
        gather_until: Recorders that join up to then, by the log, are covered by its first message.
        members: By recorder.
        more: Recorders beyond the bound, counted alone.
        findings: How many it has had.
        flaps: How often it cleared and came back within the time that it must hold.
        quiet_since: Since when nothing holds it open, by the log; None while something does.
        muted_until: End of the maintenance in which it is quiet; None where it is not.
        told_at: When it was last told of by itself; None where it was not yet.
        told: Highest severity that was told.
        said: How many messages it has given rise to; they are numbered.
        level: How far it was escalated; 0 are those first told.
        escalate_at: When it goes to the next level, unless somebody acknowledges; None where it does not.
        assignee: Account that looks after it; empty where those who were told share it.
        acknowledged_by: Account.
        acknowledged_at: When.
        resolved_by: Account; empty where it cleared by itself.
        resolved_at: When.
        runbook: Page that says what to do; empty where its family's does.
        summary: What a source outside the detectors says; empty for findings.
    """

    id: str
    group: str
    family: Family
    scope: Scope
    site_id: str = ""
    unit_id: str = ""
    kinds: list[str] = msgspec.field(default_factory=list)
    clauses: list[str] = msgspec.field(default_factory=list)
    state: AlertState = "opened"
    severity: Severity = "info"
    opened_at: int = 0
    since: int = 0
    updated_at: int = 0
    gather_until: int = 0
    members: dict[str, Member] = msgspec.field(default_factory=dict)
    more: int = 0
    findings: int = 0
    flaps: int = 0
    quiet_since: int | None = None
    muted_until: int | None = None
    told_at: int | None = None
    told: str = ""
    said: int = 0
    level: int = 0
    escalate_at: int | None = None
    assignee: str = ""
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
    resolved_by: str = ""
    resolved_at: int | None = None
    runbook: str = ""
    summary: str = ""


class AlertFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of an alert, as last heard.

    Attributes:
        id: Of the finding.
        recorder_id: Whose; of a source outside the detectors, its name.
        session_id: Of which session; empty where of none.
        kind: What.
        status: opened, updated or closed.
        severity: How bad.
        began_at: First sign.
        ended_at: When it ended; None while it has not.
        detected_at: When that was said.
        cause: Why; empty where that cannot be told.
        clauses: Articles.
        key: Key of its text.
        params: Values of its text.
        named_in: Message that named it; empty where none did yet.
    """

    id: str
    recorder_id: str
    session_id: str = ""
    kind: str
    status: str
    severity: Severity
    began_at: int
    ended_at: int | None = None
    detected_at: int
    cause: str = ""
    clauses: list[str] = msgspec.field(default_factory=list)
    key: str = ""
    params: dict[str, float | int | str | bool | list[object] | dict[str, object] | None] = msgspec.field(
        default_factory=dict
    )
    named_in: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an alert's history.

    Attributes:
        at: When.
        by: Account; empty where it happened by itself.
        what: opened, more, worse, covered, cleared, acknowledged, assigned, noted, resolved, reopened, escalated,
            muted, unmuted, told, untold, party_told, party_confirmed.
        note: In the person's words.
        facts: What of, by name.
    """

    at: int
    by: str = ""
    what: str
    note: str = ""
    facts: dict[str, str | int | list[str]] = msgspec.field(default_factory=dict)


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """Planned work, while which alerts arise and are quiet.

    Attributes:
        id: Of the window.
        starts_at: From when.
        ends_at: Until when.
        reason: Why; people read it.
        by: Account that planned it.
        recorder_id: Of this recorder alone; of any where empty.
        site_id: At this site alone.
        unit_id: In this unit alone.
        kinds: Kinds of finding or families; all where empty.
    """

    id: str
    starts_at: int
    ends_at: int
    reason: str
    by: str
    recorder_id: str = ""
    site_id: str = ""
    unit_id: str = ""
    kinds: list[str] = msgspec.field(default_factory=list)

    def covers(self, at: int, recorder_id: str, site_id: str, unit_id: str, kind: str) -> bool:
        """Tell whether it makes this quiet at a moment."""
        return (
            self.starts_at <= at < self.ends_at
            and self.recorder_id in ("", recorder_id)
            and self.site_id in ("", site_id)
            and self.unit_id in ("", unit_id)
            and (not self.kinds or kind in self.kinds or family_of(kind, None) in self.kinds)
        )


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of what. The first that fits counts, by position.

    Attributes:
        id: Of the rule.
        position: Rules are asked in this order.
        name: What people call it.
        site_id: At this site alone; at any where empty.
        unit_id: In this unit alone.
        kinds: Kinds of finding or families; all where empty.
        min_severity: From this severity on.
        levels: Who is told, level by level: `role:supervisor` (who holds it there), `agency:supervisor` (who holds it
            everywhere), `account:zhang`. The first at once, each further one when nobody acknowledged in time.
        ack_within_s: How long each level has, by severity; where a severity is missing it is not escalated.
    """

    id: str
    position: int
    name: str
    site_id: str = ""
    unit_id: str = ""
    kinds: list[str] = msgspec.field(default_factory=list)
    min_severity: Severity = "info"
    levels: list[list[str]] = msgspec.field(default_factory=list)
    ack_within_s: dict[str, float] = msgspec.field(default_factory=dict)

    def fits(self, alert: Alert) -> bool:
        """Tell whether it says who is told of an alert."""
        return (
            self.site_id in ("", alert.site_id)
            and self.unit_id in ("", alert.unit_id)
            and RANK[alert.severity] >= RANK[self.min_severity]
            and (not self.kinds or alert.family in self.kinds or any(kind in self.kinds for kind in alert.kinds))
        )
