"""What people do with alerts: the face that pages and the API work with.

Whatever changes something is said in the custody ledger first (`Audit`), then takes effect in one transaction together
with the messages that it gives rise to. Who may do what was asked before: `see` and `Guard.check` with `place`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from dashboards.alerts import lifecycle
from dashboards.alerts.book import Book, acks_of
from dashboards.alerts.lifecycle import Outcome
from dashboards.alerts.view import AlertDetail, AlertView, view
from dashboards.parts import Parts
from dashboards.people.audit import Audit
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from domain.alerts import Alert
from domain.clock import Clock, Instant
from storage.office import alerts as rows
from storage.office import outbox
from storage.office.alerts import Filter
from storage.office.office import Office

PlaceOf = Callable[[Alert], Place]

MAX_OFFICERS = 50
"""Recorders of an alert whose officers count it as their own."""
CHUNK = 200
"""Alerts read at once while those are left out that are not for who asks."""


def desk_of(parts: Parts) -> Desk:
    """Return the desk of a console."""

    def name(recorder_id: str) -> str:
        recorder = parts.fleet.recorders.get(recorder_id)
        return recorder.name if recorder is not None and recorder.name else recorder_id

    def place(alert: Alert) -> Place:
        members = list(islice(alert.members, MAX_OFFICERS))
        officers = [parts.officers(member, Instant(alert.since)) for member in members]
        return Place(unit_id=alert.unit_id, site_id=alert.site_id, officers=frozenset[str]().union(*officers))

    book = Book(parts.office, name, acks_of(parts.settings))
    return Desk(parts.office, book, parts.audit, parts.clock, place)


class Desk:
    """See the module.

    Args:
        office: Where alerts are kept.
        book: Writes them, with the messages that they give rise to.
        audit: What people do, before it takes effect.
        clock: The time.
        place_of: Where an alert is, as far as rights go.
    """

    def __init__(self, office: Office, book: Book, audit: Audit, clock: Clock, place_of: PlaceOf) -> None:
        self._office, self._book, self._audit, self._clock, self._place_of = office, book, audit, clock, place_of

    # -- reading ------------------------------------------------------------------------------------------------

    async def page(
        self, person: Person, wanted: Filter, before: tuple[int, str] | None = None, limit: int = 100
    ) -> tuple[list[AlertView], tuple[int, str] | None]:
        """Return alerts that somebody may see, the newest first, and where the next page begins; None at the end."""
        found: list[Alert] = []
        while len(found) <= limit:
            chunk = await self._chunk(wanted, before)
            found += [alert for alert in chunk if person.may_at(Right.ALERT_SEE, self._place_of(alert))]
            if len(chunk) < CHUNK:
                break
            before = (chunk[-1].opened_at, chunk[-1].id)
        shown = found[:limit]
        after = (shown[-1].opened_at, shown[-1].id) if len(found) > limit else None
        return [view(alert) for alert in shown], after

    async def _chunk(self, wanted: Filter, before: tuple[int, str] | None) -> list[Alert]:
        return await self._office.read(lambda connection: rows.list_newest(connection, wanted, before, CHUNK))

    async def get(self, person: Person, alert_id: str) -> AlertDetail:
        """Return an alert with all that is known of it.

        Raises:
            Missing: There is none, or not for who asks.
        """
        alert = await self._see(person, Right.ALERT_SEE, alert_id)
        findings, history, messages = await self._office.read(
            lambda connection: (
                rows.findings_of(connection, alert_id),
                rows.history(connection, alert_id),
                outbox.of_alert(connection, alert_id),
            )
        )
        return AlertDetail(alert=view(alert), findings=findings, history=history, messages=messages)

    async def changes(self, after: int) -> tuple[int, list[Alert]]:
        """Return the newest change's number, and alerts changed since `after`; ask again with that number."""
        found = await self._office.read(lambda connection: rows.changed_since(connection, after))
        return (found[-1][0] if found else after), [alert for _, alert in found]

    async def last_change(self) -> int:
        """Return the number of the newest change, to begin with."""
        return await self._office.read(rows.last_change)

    async def counts(self) -> dict[tuple[str, str], int]:
        """Return how many alerts are not resolved, by state and severity."""
        return await self._office.read(rows.count_open)

    # -- handling an alert --------------------------------------------------------------------------------------

    async def acknowledge(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Look after it. Right: `ALERT_HANDLE`.

        Raises:
            Missing: There is none, or not for who asks.
            InvalidInput: It is resolved.
            LedgerUnavailable, OfficeUnavailable: Nothing was done.
        """
        await self._see(person, Right.ALERT_HANDLE, alert_id)
        await self._audit.note(person, "alert.acknowledged", alert=alert_id, note=note)
        return await self._change(
            alert_id, lambda alert, now: lifecycle.acknowledge(alert, person.account_id, now, note)
        )

    async def assign(self, person: Person, alert_id: str, to: str, note: str = "") -> AlertView:
        """Have an account look after it, and tell it. Right: `ALERT_ASSIGN`; to oneself `ALERT_HANDLE`.

        Raises: as for `acknowledge`.
        """
        right = Right.ALERT_HANDLE if to == person.account_id else Right.ALERT_ASSIGN
        await self._see(person, right, alert_id)
        await self._book.check_account(to)
        await self._audit.note(person, "alert.assigned", alert=alert_id, to=to, note=note)
        return await self._change(
            alert_id, lambda alert, now: lifecycle.assign(alert, person.account_id, to, now, note)
        )

    async def note(self, person: Person, alert_id: str, note: str) -> AlertView:
        """Write something down. Right: `ALERT_HANDLE`. Raises: as for `acknowledge`."""
        await self._see(person, Right.ALERT_HANDLE, alert_id)
        await self._audit.note(person, "alert.noted", alert=alert_id, note=note)
        return await self._change(alert_id, lambda alert, now: lifecycle.remark(alert, person.account_id, now, note))

    async def resolve(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Say that it is done with; a note is needed while it still holds. Right: `ALERT_HANDLE`.

        Raises: as for `acknowledge`.
        """
        await self._see(person, Right.ALERT_HANDLE, alert_id)
        await self._audit.note(person, "alert.resolved", alert=alert_id, note=note)
        return await self._change(alert_id, lambda alert, now: lifecycle.resolve(alert, person.account_id, now, note))

    async def reopen(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Say that it is not done with. Right: `ALERT_HANDLE`. Raises: as for `acknowledge`."""
        await self._see(person, Right.ALERT_HANDLE, alert_id)
        await self._audit.note(person, "alert.reopened", alert=alert_id, note=note)
        return view(await self._book.reopen(alert_id, person.account_id, note, int(self._clock.now())))

    async def _see(self, person: Person, right: Right, alert_id: str) -> Alert:
        alert = await self._office.read(lambda connection: rows.get(connection, alert_id))
        if alert is None or not person.may_at(right, self._place_of(alert)):
            raise Missing(f"no alert {alert_id}")
        return alert

    async def _change(self, alert_id: str, step: Callable[[Alert, int], Outcome]) -> AlertView:
        return view(await self._book.change(alert_id, step, int(self._clock.now())))
