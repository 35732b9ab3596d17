"""One shape for what gives rise to alerts: findings of the detectors, and alerts of Prometheus' Alertmanager."""

from __future__ import annotations

import hashlib

import msgspec

from domain.alerts import AlertFinding, Family, Scope, family_of
from domain.findings import Finding


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recorder belongs, as registered.

    Attributes:
        site_id: Premises; empty where it is at none.
        unit_id: Enforcement unit; empty where it belongs to none.
        name: What people call it.
        kind: What it is; empty where it is not registered.
    """

    site_id: str = ""
    unit_id: str = ""
    name: str = ""
    kind: str = ""


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that holds, or held.

    Attributes:
        about: The finding.
        family: What kind of matter.
        scope: What its group is about.
        name: Of the site, unit, recorder or source.
        site_id: Premises.
        unit_id: Enforcement unit.
        runbook: Page that says what to do; empty where its family's does.
        summary: What a source outside the detectors says.
    """

    about: AlertFinding
    family: Family
    scope: Scope
    name: str
    site_id: str = ""
    unit_id: str = ""
    runbook: str = ""
    summary: str = ""

    @property
    def group(self) -> str:
        """Findings of one group belong to one alert."""
        return f"{self.scope}:{self.name}/{self.family}"


def of_finding(finding: Finding, origin: Origin) -> Signal:
    """Return what a finding signals."""
    about = AlertFinding(
        id=finding.id,
        recorder_id=finding.recorder_id,
        session_id=finding.session_id or "",
        kind=finding.kind,
        status=finding.status,
        severity=finding.severity,
        began_at=int(finding.began_at),
        ended_at=None if finding.ended_at is None else int(finding.ended_at),
        detected_at=int(finding.detected_at),
        cause=finding.cause or "",
        clauses=list(finding.clauses),
        key=finding.message.key,
        params=dict(finding.message.params),
    )
    scope, name = _scope(finding.recorder_id, origin)
    return Signal(
        about=about,
        family=family_of(finding.kind, finding.cause),
        scope=scope,
        name=name,
        site_id=origin.site_id,
        unit_id=origin.unit_id,
    )


def _scope(recorder_id: str, origin: Origin) -> tuple[Scope, str]:
    if origin.site_id:
        return "site", origin.site_id
    if origin.unit_id:
        return "unit", origin.unit_id
    return "recorder", recorder_id


def digest(*parts: str) -> str:
    """Return 32 hex digits that are a function of these parts, each behind its length."""
    made = hashlib.sha256()
    for part in parts:
        data = part.encode()
        made.update(len(data).to_bytes(4, "big"))
        made.update(data)
    return made.hexdigest()[:32]
