"""What is said of an alert, and to whom: messages and entries of the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection, select

from dashboards.alerts.lifecycle import Say
from dashboards.alerts.people import Directory, directory
from dashboards.alerts.signal import digest
from dashboards.notify.metrics import NOTIFICATIONS
from dashboards.people.rights import Place
from domain.alerts import Alert, AlertFinding, Line
from storage.office import alerts as rows
from storage.office import outbox, premises, units
from storage.office.channels import PARTY
from storage.office.office import Office
from storage.office.outbox import Letter, Message

Names = Callable[[str], str]
"""What people call a recorder; its id where they do not."""

MAX_NAMED = 1000
MAX_RECORDERS = 20
_NAMING = frozenset({"opened", "more", "worse", "reopened", "resolved"})
"""Messages that name findings which no message named before; the others name what holds."""


class Composer:
    """Writes messages within one transaction.

    Args:
        office: For its dialect.
        connection: The transaction.
        names: What people call recorders.
        now: The time.
    """

    def __init__(self, office: Office, connection: Connection, names: Names, now: int) -> None:
        self._office, self._connection, self._names, self._now = office, connection, names, now
        self._everybody: Directory | None = None
        self._messages: list[Message] = []
        self._letters: list[tuple[Message, Letter]] = []
        self._named: list[tuple[str, str]] = []
        self._unnamed: dict[str, list[AlertFinding]] = {}
        self._sites: dict[str, str] = {}
        self._units: dict[str, str] | None = None
        self.count = 0

    @property
    def _people(self) -> Directory:
        """Who can be told; read where there is something to tell."""
        if self._everybody is None:
            self._everybody = directory(self._connection)
        return self._everybody

    def expect(self, alert_ids: Sequence[str]) -> None:
        """Read at once what many alerts may have to say."""
        self._unnamed = rows.unnamed_of(self._connection, alert_ids)

    def tell(self, alert: Alert, say: Say, levels: Sequence[Sequence[str]]) -> list[Line]:
        """Write a message to everybody whom it concerns, and return what the history says of it.

        Where nobody can be told, the alert goes to its next level at once.
        """
        message = self._message(alert, say)
        concerned = self._concerned(alert, say, levels)
        reached = [account for account in concerned if self._people.reachable(account, alert.severity)]
        lines = [Line(at=self._now, what="told", facts={"what": say.what, "to": reached})] if reached else []
        if not reached and say.what != "resolved":
            lines.append(Line(at=self._now, what="untold", facts={"what": say.what, "without_channel": concerned}))
            NOTIFICATIONS.labels("none", "nobody").inc()
            if alert.state == "opened" and say.what != "assigned":
                alert.escalate_at = self._now
        self._messages.append(message)
        self._letters += [(message, Letter(id=digest(message.id, account), account_id=account)) for account in reached]
        if say.what in _NAMING and reached:
            self._named += [(finding.id, message.id) for finding in message.findings]
        return lines

    def tell_party(self, alert: Alert, contacts: Sequence[str], note: str, by: str) -> None:
        """Write a message to contacts of the party: numbers and mail addresses."""
        alert.said += 1
        said = self._message(alert, Say(what="party", number=alert.said, level=alert.level))
        message = msgspec.structs.replace(said, note=note, by=by)
        self._messages.append(message)
        self._letters += [
            (message, Letter(id=digest(message.id, PARTY, contact), account_id=PARTY, contact=contact))
            for contact in contacts
        ]

    def flush(self) -> None:
        """Write what was said so far."""
        outbox.add_messages(self._office, self._connection, self._messages, self._now)
        outbox.add_letters(self._office, self._connection, self._letters, self._now)
        rows.mark_named(self._connection, self._named)
        self.count += len(self._letters)
        self._messages, self._letters, self._named = [], [], []

    def _told(self, alert: Alert) -> frozenset[str]:
        self.flush()
        return outbox.told(self._connection, alert.id)

    def _site(self, site_id: str) -> str:
        """Return what people call a site."""
        if site_id and site_id not in self._sites:
            site = premises.find_site(self._connection, site_id)
            self._sites[site_id] = site.name if site is not None and site.name else site_id
        return self._sites.get(site_id, "")

    def _unit(self, unit_id: str) -> str:
        """Return what people call a unit."""
        if not unit_id:
            return ""
        if self._units is None:
            self._units = {row.unit_id: row.name for row in self._connection.execute(select(units.units))}
        return self._units.get(unit_id) or unit_id

    def _concerned(self, alert: Alert, say: Say, levels: Sequence[Sequence[str]]) -> list[str]:
        place = Place(unit_id=alert.unit_id, site_id=alert.site_id)
        if say.what == "assigned":
            return [alert.assignee]
        if say.what == "resolved":
            return sorted(self._told(alert) - {alert.resolved_by})
        if say.what == "escalated":
            told = self._told(alert)
            return [account for account in self._people.level(levels, say.level, place) if account not in told]
        found = [account for number in range(say.level + 1) for account in self._people.level(levels, number, place)]
        return list(dict.fromkeys([*found, *([alert.assignee] if alert.assignee else [])]))

    def _findings(self, alert: Alert, say: Say) -> list[AlertFinding]:
        """Return what a message names."""
        if say.what not in _NAMING:
            all_of_it = rows.findings_of(self._connection, alert.id, limit=MAX_NAMED)
            return [finding for finding in all_of_it if finding.status != "closed"]
        expected = self._unnamed.pop(alert.id, None)  # true for the first message alone: it names them
        if expected is not None:
            return expected[:MAX_NAMED]
        self.flush()
        return rows.findings_of(self._connection, alert.id, unnamed=True, limit=MAX_NAMED)

    def _message(self, alert: Alert, say: Say) -> Message:
        findings = self._findings(alert, say)
        recorders = list(dict.fromkeys(finding.recorder_id for finding in findings)) or list(alert.members)
        return Message(
            id=digest("message", alert.id, str(say.number)),
            alert_id=alert.id,
            number=say.number,
            what=say.what,
            state=alert.state,
            severity=alert.severity,
            family=alert.family,
            scope=alert.scope,
            site_id=alert.site_id,
            site=self._site(alert.site_id),
            unit_id=alert.unit_id,
            unit=self._unit(alert.unit_id),
            recorders=[self._names(name) for name in recorders[:MAX_RECORDERS]],
            recorder_count=len(alert.members) + alert.more if say.what == "resolved" else len(recorders),
            findings=findings,
            finding_count=alert.findings if say.what == "resolved" else len(findings),
            clauses=list(alert.clauses),
            since=alert.since,
            level=say.level,
            by=alert.resolved_by if say.what == "resolved" else "",
            summary=alert.summary,
            runbook=alert.runbook,
            found_at=_found_at(findings, alert),
            gathers=say.what == "opened" and alert.scope in ("site", "unit"),
        )


def _found_at(findings: Sequence[AlertFinding], alert: Alert) -> int:
    return min((finding.detected_at for finding in findings), default=alert.opened_at)
