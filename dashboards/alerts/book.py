"""Alerts written down: each change of one, the messages that it gives rise to and its history, in one transaction.

1. Take the lock of alerts.
2. Read the alerts in question and change them (`dashboards.alerts.lifecycle`).
3. Write messages, the entries of the outbox, the history, the findings, the alerts.
4. Commit. Then, and only then, may the log's offset be committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from dashboards.alerts import acts, lifecycle
from dashboards.alerts.compose import Composer, Names
from dashboards.alerts.lifecycle import Outcome, Terms
from dashboards.alerts.people import directory, levels_of
from dashboards.alerts.signal import Signal
from dashboards.people.rights import Place
from dashboards.problem import Missing
from domain.alerts import Alert, AlertFinding, Line, Maintenance, Route
from domain.clock import ms
from domain.errors import InvalidInput
from domain.settings import Settings
from storage.office import alerts as rows
from storage.office.office import Office

MAX_DUE = 100
"""Alerts looked at in one transaction; the rest in the next."""
LOOK_EVERY_MS = 1_000
"""So often it is asked whether somebody else, a console, has made something due."""
MAX_LEVELS = 8
"""Levels of a rule."""
_STATUS = {"opened": 0, "updated": 1, "closed": 2}


class Acks(msgspec.Struct, frozen=True, kw_only=True):
    """How long each level has to acknowledge where no rule says so, ms; 0: it is not escalated.

    Attributes:
        critical: Of critical alerts.
        warning: Of warnings.
    """

    critical: int = 300_000
    warning: int = 1_800_000


def acks_of(settings: Settings) -> Acks:
    """Return what the settings say of it."""
    return Acks(critical=ms(settings.alert_ack_critical_s), warning=ms(settings.alert_ack_warning_s))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How a party is told.

    Attributes:
        by: Account that decided.
        note: What it is told besides.
        contacts: Numbers and mail addresses to which something is sent.
    """

    by: str
    note: str
    contacts: list[str]


class Book:
    """See the module.

    Args:
        office: Where alerts are kept.
        names: What people call recorders.
        acks: How long people have to acknowledge.
    """

    def __init__(self, office: Office, names: Names | None = None, acks: Acks | None = None) -> None:
        self._office = office
        self._names: Names = names or (lambda recorder_id: recorder_id)
        self._acks = acks or Acks()
        self._wake_at: int | None = None
        self._looked_at = 0

    async def take(self, signals: Sequence[Signal], now: int) -> int:
        """Take in what was found, and return how many entries of the outbox that gave.

        Raises:
            OfficeUnavailable: Nothing was written.
        """
        return await self._write(now, lambda page: page.take(signals))

    async def advance(self, now: int) -> int:
        """Do what is due, and return how many entries of the outbox that gave.

        Raises:
            OfficeUnavailable: Nothing was written.
        """
        if now - self._looked_at >= LOOK_EVERY_MS:
            self._wake_at, self._looked_at = await self._office.read(rows.next_wake), now
        if self._wake_at is None or self._wake_at > now:
            return 0
        return await self._write(now, lambda page: page.advance())

    async def _write(self, now: int, work: Callable[[_Page], int]) -> int:
        def write(connection: Connection) -> tuple[int, int | None]:
            page = self._page(connection, now)
            return work(page), rows.next_wake(connection)

        letters, self._wake_at = await self._office.write(write)
        return letters

    async def change(self, alert_id: str, step: Callable[[Alert, int], Outcome], now: int) -> Alert:
        """Do what somebody decided.

        Raises:
            Missing: There is no such alert.
            InvalidInput: It cannot be done.
            OfficeUnavailable: Nothing was written.
        """
        return await self._change(now, lambda page: page.change(alert_id, lambda alert, _: step(alert, now)))

    async def reopen(self, alert_id: str, by: str, note: str, now: int) -> Alert:
        """Open an alert again. Raises: as for `change`."""

        def step(alert: Alert, terms: Terms) -> Outcome:
            return acts.reopen(alert, by, now, note, terms)

        return await self._change(now, lambda page: page.change(alert_id, step))

    async def tell_party(self, alert_id: str, step: Callable[[Alert, int], Outcome], told: Told, now: int) -> Alert:
        """Write that the party is told, and what is sent to it. Raises: as for `change`."""
        return await self._change(now, lambda page: page.party(alert_id, step, told))

    async def unreachable(self, alert_id: str, account_id: str, error: str, now: int) -> None:
        """Note that somebody cannot be told, and have it go to the next level at once.

        Raises:
            OfficeUnavailable: Nothing was written.
        """

        def step(alert: Alert, _terms: Terms) -> Outcome:
            if alert.state == "opened":
                alert.escalate_at = now
            return Outcome(lines=[Line(at=now, what="untold", facts={"to": account_id, "error": error[:200]})])

        await self._change(now, lambda page: page.change(alert_id, step))

    async def _change(self, now: int, work: Callable[[_Page], Alert]) -> Alert:
        changed = await self._office.write(lambda connection: work(self._page(connection, now)))
        self._looked_at = 0  # it may have made something due
        return changed

    async def check_account(self, account_id: str) -> None:
        """Go on only if this is an account in use; in a house without accounts everybody is.

        Raises:
            InvalidInput: It is not.
        """
        found = await self._office.read(directory)
        if found.people and account_id not in found.people:
            raise InvalidInput(f"to: no account {account_id}", "to")

    def _page(self, connection: Connection, now: int) -> _Page:
        return _Page(self._office, connection, self._names, self._acks, now)


class _Page:
    """One transaction."""

    def __init__(self, office: Office, connection: Connection, names: Names, acks: Acks, now: int) -> None:
        self._office, self._connection, self._now, self._acks = office, connection, now, acks
        self._change = rows.lock(connection)  # step 1
        self._routes: list[Route] = rows.routes(connection)
        self._windows: list[Maintenance] = rows.windows(connection, now)
        self._composer = Composer(office, connection, names, now)
        self._groups: dict[str, Alert] = {}
        self._newest: dict[str, Alert] = {}
        self._alerts: dict[str, Alert] = {}
        self._lines: dict[str, list[Line]] = {}
        self._findings: dict[str, tuple[str, AlertFinding]] = {}
        self._findings_seen: dict[str, tuple[str, AlertFinding]] = {}

    def take(self, signals: Sequence[Signal]) -> int:
        known = rows.known(self._connection, [signal.about.id for signal in signals])
        self._newest = rows.newest(self._connection, list({signal.group for signal in signals}))
        for signal in signals:
            name = signal.about.id
            self._take(signal, self._findings.get(name) or self._findings_seen.get(name) or known.get(name))
        return self._finish()

    def advance(self) -> int:
        for alert in rows.due(self._connection, self._now, MAX_DUE):
            self._hold(alert)
        self._composer.expect(list(self._alerts))
        return self._finish()

    def change(self, alert_id: str, step: Callable[[Alert, Terms], Outcome]) -> Alert:
        alert = rows.get(self._connection, alert_id)
        if alert is None:
            raise Missing(f"no alert {alert_id}")
        self._hold(alert)
        self._keep(alert, step(alert, self._terms(alert)))
        self._finish()
        return alert

    def party(self, alert_id: str, step: Callable[[Alert, int], Outcome], told: Told) -> Alert:
        alert = self._alert(alert_id)
        if alert is None:
            raise Missing(f"no alert {alert_id}")
        self._keep(alert, step(alert, self._now))
        self._composer.tell_party(alert, told.contacts, told.note, told.by)
        self._finish()
        return alert

    def _take(self, signal: Signal, before: tuple[str, AlertFinding] | None) -> None:
        about = signal.about
        if before is not None and _place(before[1]) >= _place(about):
            return  # heard already
        if before is None and signal.scope == "source" and about.status == "closed":
            return  # it was over before anybody heard of it
        alert = self._alert(before[0]) if before is not None else self._for(signal)
        if alert is None:
            return
        self._keep(alert, lifecycle.take(alert, signal, self._now, known=before is not None))
        self._findings[about.id] = (alert.id, about)

    def _for(self, signal: Signal) -> Alert:
        """Return the alert to which something new belongs."""
        newest = self._groups.get(signal.group) or self._newest.get(signal.group)
        if newest is not None:
            newest = self._hold(self._alerts.get(newest.id, newest))
            if lifecycle.belongs(newest, signal):
                return newest
            self._keep(newest, lifecycle.advance(newest, self._now, self._terms(newest)))
        return self._hold(lifecycle.begin(signal, self._now))

    def _alert(self, alert_id: str) -> Alert | None:
        found = self._alerts.get(alert_id) or rows.get(self._connection, alert_id)
        return None if found is None else self._hold(found)

    def _hold(self, alert: Alert) -> Alert:
        self._alerts[alert.id] = alert
        current = self._groups.get(alert.group)
        if current is None or alert.opened_at >= current.opened_at:
            self._groups[alert.group] = alert
        return alert

    def _keep(self, alert: Alert, outcome: Outcome) -> None:
        lines = self._lines.setdefault(alert.id, [])
        lines += outcome.lines
        if outcome.says:
            self._flush()
        for say in outcome.says:
            lines += self._composer.tell(alert, say, self._levels(alert))

    def _flush(self) -> None:
        """Write the findings taken in so far, which messages name."""
        rows.save_findings(self._office, self._connection, list(self._findings.values()))
        self._findings_seen |= self._findings
        self._findings = {}

    def _finish(self) -> int:
        self._flush()  # step 3
        changed = [(alert, self._settle(alert)) for alert in list(self._alerts.values())]
        self._composer.flush()
        rows.add_lines(self._connection, [(name, line) for name, lines in self._lines.items() for line in lines])
        rows.save(self._office, self._connection, changed, self._change)
        return self._composer.count

    def _settle(self, alert: Alert) -> int | None:
        """Do what is due until nothing is: where nobody can be told, the next level is due at once."""
        outcome = lifecycle.advance(alert, self._now, self._terms(alert))
        self._keep(alert, outcome)
        for _ in range(MAX_LEVELS):
            if not outcome.says:
                break
            outcome = lifecycle.advance(alert, self._now, self._terms(alert))
            self._keep(alert, outcome)
        return outcome.wake_at

    def _levels(self, alert: Alert) -> list[list[str]]:
        return levels_of(alert, self._route(alert))

    def _route(self, alert: Alert) -> Route | None:
        return next((route for route in self._routes if route.fits(alert)), None)

    def _terms(self, alert: Alert) -> Terms:
        route = self._route(alert)
        default = {"critical": self._acks.critical, "warning": self._acks.warning}
        within = default if route is None or not route.ack_within_s else _ms(route.ack_within_s)
        place = Place(unit_id=alert.unit_id, site_id=alert.site_id)
        return Terms(
            ack_within_ms={severity: value for severity, value in within.items() if value > 0},
            levels=len(levels_of(alert, route)),
            quiet_until=lambda recorder_id, kind: self._quiet_until(recorder_id, kind, place),
        )

    def _quiet_until(self, recorder_id: str, kind: str, place: Place) -> int | None:
        ends = [
            window.ends_at
            for window in self._windows
            if window.covers(self._now, recorder_id, place.site_id, place.unit_id, kind)
        ]
        return max(ends, default=None)


def _place(found: AlertFinding) -> tuple[int, int]:
    """Of two statements about a finding the one that stands further on is newer."""
    return found.detected_at, _STATUS.get(found.status, 0)


def _ms(seconds: dict[str, float]) -> dict[str, int]:
    return {severity: round(value * 1000) for severity, value in seconds.items()}
