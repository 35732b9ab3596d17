"""What people do with alerts: the face that pages and the API work with.

Whatever changes something is said in the custody ledger first (`Audit`), then takes effect in one transaction together
with the messages that it gives rise to. Who may do what was asked before: `see` and `Guard.check` with `place`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from dashboards.alerts import acts
from dashboards.alerts.book import Book, Told, acks_of
from dashboards.alerts.lifecycle import Outcome
from dashboards.alerts.view import AlertDetail, AlertView, view
from dashboards.parts import Parts
from dashboards.people.audit import Audit
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from domain.alerts import Alert
from domain.clock import Clock, Instant
from domain.errors import InvalidInput
from storage.office import alerts as rows
from storage.office import outbox, premises
from storage.office.alerts import Filter
from storage.office.dossier import Contact
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
        self._office, self.book, self._audit, self._clock, self._place_of = office, book, audit, clock, place_of

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

    def place(self, alert: Alert) -> Place:
        """Return where an alert is, as far as rights go."""
        return self._place_of(alert)

    # -- handling an alert --------------------------------------------------------------------------------------

    async def acknowledge(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Look after it. Right: `ALERT_HANDLE`.

        Raises:
            Missing: There is none, or not for who asks.
            InvalidInput: It is resolved.
            LedgerUnavailable, OfficeUnavailable: Nothing was done.
        """

        def step(alert: Alert, now: int) -> Outcome:
            return acts.acknowledge(alert, person.account_id, now, note)

        return await self._do(person, alert_id, step, "alert.acknowledged", note=note)

    async def assign(self, person: Person, alert_id: str, to: str, note: str = "") -> AlertView:
        """Have an account look after it, and tell it. Right: `ALERT_ASSIGN`; to oneself `ALERT_HANDLE`.

        Raises: as for `acknowledge`; `InvalidInput` where there is no such account.
        """
        right = Right.ALERT_HANDLE if to == person.account_id else Right.ALERT_ASSIGN
        await self._see(person, right, alert_id)
        await self.book.check_account(to)

        def step(alert: Alert, now: int) -> Outcome:
            return acts.assign(alert, person.account_id, to, now, note)

        return await self._do(person, alert_id, step, "alert.assigned", right=right, to=to, note=note)

    async def note(self, person: Person, alert_id: str, note: str) -> AlertView:
        """Write something down. Right: `ALERT_HANDLE`. Raises: as for `acknowledge`."""

        def step(alert: Alert, now: int) -> Outcome:
            return acts.remark(alert, person.account_id, now, note)

        return await self._do(person, alert_id, step, "alert.noted", note=note)

    async def resolve(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Say that it is done with; a note is needed while it still holds. Right: `ALERT_HANDLE`.

        Raises: as for `acknowledge`.
        """

        def step(alert: Alert, now: int) -> Outcome:
            return acts.resolve(alert, person.account_id, now, note)

        return await self._do(person, alert_id, step, "alert.resolved", note=note)

    async def reopen(self, person: Person, alert_id: str, note: str = "") -> AlertView:
        """Say that it is not done with. Right: `ALERT_HANDLE`. Raises: as for `acknowledge`."""
        alert = await self._see(person, Right.ALERT_HANDLE, alert_id)
        acts.check_resolved(alert)
        await self._audit.note(person, "alert.reopened", alert=alert_id, note=note)
        return view(await self.book.reopen(alert_id, person.account_id, note, int(self._clock.now())))

    async def _do(
        self,
        person: Person,
        alert_id: str,
        step: Callable[[Alert, int], Outcome],
        what: str,
        *,
        right: Right = Right.ALERT_HANDLE,
        **facts: str,
    ) -> AlertView:
        """See that it can be done, say in the ledger that it is about to be, and do it."""
        now = int(self._clock.now())
        step(await self._see(person, right, alert_id), now)  # on a copy: what cannot be done is not said
        await self._audit.note(person, what, alert=alert_id, **facts)
        return view(await self.book.change(alert_id, step, now))

    # -- the party ----------------------------------------------------------------------------------------------

    async def contacts(self, person: Person, alert_id: str) -> Sequence[Contact]:
        """Return who of the party may be told of an alert; nobody where it is at no site.

        Raises:
            Missing: There is none, or not for who asks.
        """
        alert = await self._see(person, Right.ALERT_SEE, alert_id)
        site = await premises.one_site(self._office, alert.site_id) if alert.site_id else None
        return () if site is None else site.contacts

    async def tell_party(
        self, person: Person, alert_id: str, names: Sequence[str], note: str = "", *, by_hand: Sequence[str] = ()
    ) -> AlertView:
        """Tell the party (W-NS 第十五条), because somebody decided so. Right: `ALERT_HANDLE`.

        Args:
            person: Who decided.
            alert_id: Of which alert.
            names: Contacts of the site that are sent a message, by their channel `sms` or `mail`.
            note: What they are told besides.
            by_hand: Contacts whom the person told themselves, by telephone or on paper.

        Raises:
            InvalidInput: A name is no contact of the site, or has neither number nor mail address, or nobody is named.
            Missing, LedgerUnavailable, OfficeUnavailable: As for `acknowledge`.
        """
        known = {contact.name: contact for contact in await self.contacts(person, alert_id)}
        alert = await self._see(person, Right.ALERT_HANDLE, alert_id)
        for name in (*names, *by_hand):
            if name not in known:
                raise InvalidInput(f"contacts: {name!r} is no contact of the site", "contacts")
        told = Told(by=person.account_id, note=note, contacts=[_reached_by(known[name]) for name in names])

        def step(alert: Alert, now: int) -> Outcome:
            return acts.tell_party(alert, person.account_id, now, note, contacts=list(names), by_hand=list(by_hand))

        now = int(self._clock.now())
        step(alert, now)
        await self._audit.note(
            person, "party.told", alert=alert_id, contacts=list(names), by_hand=list(by_hand), note=note
        )
        return view(await self.book.tell_party(alert_id, step, told, now))

    async def party_confirmed(self, person: Person, alert_id: str, who: str, how: str, note: str = "") -> AlertView:
        """Write down that somebody of the party confirmed what it was told. Right: `ALERT_HANDLE`.

        Raises: as for `acknowledge`; `InvalidInput` where it is not said who, or how.
        """

        def step(alert: Alert, now: int) -> Outcome:
            return acts.party_confirmed(alert, person.account_id, now, note, who=who, how=how)

        return await self._do(person, alert_id, step, "party.confirmed", who=who, how=how, note=note)

    async def _see(self, person: Person, right: Right, alert_id: str) -> Alert:
        alert = await self._office.read(lambda connection: rows.get(connection, alert_id))
        if alert is None or not person.may_at(right, self._place_of(alert)):
            raise Missing(f"no alert {alert_id}")
        return alert


def _reached_by(contact: Contact) -> str:
    reached = contact.mail if contact.channel == "mail" else contact.phone
    if contact.channel not in ("sms", "mail") or not reached:
        msg = f"contacts: {contact.name} is told neither by SMS nor by mail; tell them, and say so"
        raise InvalidInput(msg, "contacts")
    return reached
