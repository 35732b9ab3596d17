"""What is done about recorders of the ledger: handing out, tokens, upkeep, checks before use."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from dashboards.parts import Parts
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from dashboards.recorder import Recorder
from dashboards.registration.holders import Holders
from dashboards.registration.registrar import Registrar
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.ids import is_recorder_id
from domain.registry import hash_token
from policies.model import DeviceCheck, Policy
from storage.office import accounts, prechecks, premises, recorders
from storage.office.dossier import check_text
from storage.office.prechecks import Check, Point
from storage.office.recorders import Card, State, What

TOKEN_BYTES = 32
MAX_OVERLAP_DAYS = 30
FRESH_MS = 15 * 60_000
"""What a device said of itself counts in a check if it is no older."""
DAY_MS = 86_400_000
_STATES: dict[What, State] = {"out_of_service": "suspended", "back": "active", "retired": "retired"}


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was opened without a check before it that day.

    Attributes:
        recorder_id: With which recorder.
        session_id: The session.
        opened_at: When.
        officers: Whose it was then.
        articles: By which articles a check was owed.
    """

    recorder_id: str
    session_id: str
    opened_at: Instant
    officers: tuple[str, ...]
    articles: tuple[str, ...]


class LedgerDesk:
    """See the module.

    Args:
        parts: What the console is made of.
        registrar: Tells the log.
        holders: Asked to look anew when somebody was handed a recorder.
    """

    def __init__(self, parts: Parts, registrar: Registrar, holders: Holders) -> None:
        self._parts, self._registrar, self._holders = parts, registrar, holders

    def place(self, card: Card) -> Place:
        """Return where a recorder is, as far as rights go, and whose it is now."""
        officers = self._holders.of(card.recorder_id, self._parts.clock.now())
        return Place(unit_id=card.unit_id, site_id=card.site_id, officers=officers)

    async def cards(self, person: Person) -> list[Card]:
        """Return the recorders that somebody may see."""
        found = await recorders.all_cards(self._parts.office)
        return [card for card in found if person.may_at(Right.RECORDER_SEE, self.place(card))]

    async def card(self, person: Person, recorder_id: str, right: Right = Right.RECORDER_SEE) -> Card:
        """Return a recorder.

        Raises:
            Missing: There is none in the ledger, or not for them to do this with.
        """
        card = await recorders.one_card(self._parts.office, recorder_id) if is_recorder_id(recorder_id) else None
        if card is None:
            raise Missing(f"no recorder {recorder_id[:100]} in the ledger")
        self._parts.guard.check(person, right, self.place(card), f"recorder {recorder_id[:100]}")
        return card

    async def add(self, person: Person, card: Card) -> Card:
        """Enter a recorder.

        Raises:
            InvalidInput: Its id is in use, there is no such policy, or it is of a unit that is not theirs.
        """
        self._check(person, card)
        await self._registrar.settle()
        if self._registrar.knows(card.recorder_id):
            msg = f"recorder_id: {card.recorder_id} is in use"
            raise premises.Taken(msg, "recorder_id")
        await self._note(person, "recorder.added", card, unit=card.unit_id)
        await recorders.add_card(self._parts.office, card, by=person.account_id, at=self._parts.clock.now())
        await self._registrar.told()
        return card

    async def change(self, person: Person, card: Card) -> Card:
        """Change what is written of a recorder; its kind and state stay.

        Raises:
            InvalidInput: There is no such policy, or it would be of a unit that is not theirs.
        """
        before = await self.card(person, card.recorder_id, Right.RECORDER_EDIT)
        card = _kept(card, before)
        self._check(person, card)
        await self._note(person, "recorder.changed", card, unit=card.unit_id)
        return await self._enter(person, card.recorder_id, "changed", lambda now: _kept(card, now))

    async def entry(self, person: Person, recorder_id: str, what: What, note: str) -> Card:
        """Write an upgrade, a maintenance, going out of service or coming back into the ledger.

        Raises:
            InvalidInput: Nothing is said of it, or it is gone.
        """
        card = await self.card(person, recorder_id, Right.RECORDER_EDIT)
        if what not in ("upgraded", "maintained", *_STATES):
            msg = f"what: no entry {what!r}"
            raise InvalidInput(msg, "what")
        note = check_text(note, "note")
        if not note and what != "back":
            msg = "note: say what was done, or why"
            raise InvalidInput(msg, "note")
        if card.state == "retired":
            msg = "state: it has been retired"
            raise InvalidInput(msg, "state")
        await self._note(person, f"recorder.{what}", card, note=note)

        def enter(before: Card) -> Card:
            return msgspec.structs.replace(before, state=_STATES.get(what, before.state))

        return await self._enter(person, recorder_id, what, enter, note)

    async def issue(self, person: Person, recorder_id: str, account_id: str | None) -> None:
        """Hand a recorder out to an officer, or take it back.

        Raises:
            InvalidInput: There is no such account, or the recorder is not in use.
        """
        card = await self.card(person, recorder_id, Right.RECORDER_EDIT)
        if account_id is not None:
            if card.state != "active":
                msg = f"state: it is {card.state}"
                raise InvalidInput(msg, "state")
            found = await accounts.get(self._parts.office, account_id[:64]) if account_id.isprintable() else None
            if found is None or found.state == "disabled":
                msg = "account_id: no such account"
                raise InvalidInput(msg, "account_id")
        await self._note(person, "recorder.issued" if account_id else "recorder.returned", card, to=account_id)
        now = self._parts.clock.now()
        await recorders.issue(self._parts.office, recorder_id, account_id, by=person.account_id, at=now)
        await self._holders.look()

    async def renew_token(self, person: Person, recorder_id: str, overlap_days: float) -> str:
        """Make a new token and return it, this once; the one before is taken for so long.

        Raises:
            InvalidInput: Longer than may be.
        """
        card = await self.card(person, recorder_id, Right.RECORDER_EDIT)
        if not 0 <= overlap_days <= MAX_OVERLAP_DAYS:
            msg = f"overlap_days: 0 to {MAX_OVERLAP_DAYS}"
            raise InvalidInput(msg, "overlap_days")
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._parts.clock.now()
        until = now.plus(round(overlap_days * DAY_MS))
        await self._note(person, "recorder.token", card, old_until=until.rfc3339())
        await recorders.renew_token(
            self._parts.office, recorder_id, hash_token(token), old_until=until, by=person.account_id, at=now
        )
        await self._registrar.told()
        return token

    # -- checks before use --------------------------------------------------------------------------------------

    def policy(self, card: Card) -> Policy | None:
        """Return the policy that a recorder is under."""
        return self._parts.book.find(card.policy)

    def asked(self, card: Card) -> tuple[DeviceCheck, ...]:
        """Return the points that its policy asks to be checked before use; none where it asks for none."""
        policy = self.policy(card)
        return () if policy is None else policy.device.checks

    def told_by_device(self, card: Card) -> dict[str, Point]:
        """Return the points that follow from what the device said of itself a moment ago."""
        recorder = self._parts.fleet.recorders.get(card.recorder_id)
        policy, now = self.policy(card), self._parts.clock.now()
        if recorder is None or policy is None or now - (recorder.telemetry_at or 0) > FRESH_MS:
            return {}
        least = {point.id: point.minimum_percent.value for point in policy.device.checks if point.minimum_percent}
        tolerance_s = policy.device.clock_tolerance.ms() / 1000
        return {point.id: point for point in _read(recorder, least, tolerance_s)}

    async def check(self, person: Person, recorder_id: str, found: dict[str, bool], note: str) -> Check:
        """Log a check: by whoever keeps the ledger, or by the officer who has the recorder.

        What a device says of itself stands, whatever is ticked: a battery at 5 % is not well.

        Raises:
            InvalidInput: A point that the policy asks for is not answered.
        """
        card = await self.card(person, recorder_id)
        if not self.may_check(person, card):
            raise Missing(f"no recorder {recorder_id[:100]} of yours")
        told, note = self.told_by_device(card), check_text(note, "note")
        points = []
        for asked in self.asked(card):
            if asked.id not in told and asked.id not in found:
                msg = f"points.{asked.id}: not answered"
                raise InvalidInput(msg, f"points.{asked.id}")
            points.append(told.get(asked.id) or Point(id=asked.id, ok=found[asked.id]))
        now = self._parts.clock.now()
        check = Check(recorder_id=recorder_id, at=now, by=person.account_id, points=tuple(points), note=note)
        failed = [point.id for point in points if not point.ok]
        await self._note(person, "recorder.checked", card, failed=failed)
        await prechecks.add_check(self._parts.office, check)
        return check

    def may_check(self, person: Person, card: Card) -> bool:
        """Tell whether somebody checks this recorder: whoever keeps the ledger, and whoever has it."""
        place = self.place(card)
        return person.may_at(Right.RECORDER_EDIT, place) or person.account_id in place.officers

    def midnight(self) -> Instant:
        """Return when today began, in China."""
        now = self._parts.clock.now()
        return Instant.of(now.datetime().replace(hour=0, minute=0, second=0, microsecond=0))

    async def owed(self, person: Person) -> list[Owed]:
        """Return sessions of today that began without a check before them today, newest first."""
        since = self.midnight()
        done: dict[str, Instant] = {}
        for check in await prechecks.checks(self._parts.office, since=since):
            done[check.recorder_id] = min(check.at, done.get(check.recorder_id, check.at))
        found: list[Owed] = []
        for card in await self.cards(person):
            asked = self.asked(card)
            if card.kind == "body_worn" and asked:
                articles = tuple(dict.fromkeys(one for point in asked for one in point.source))
                found += self._unchecked(card, since, done.get(card.recorder_id), articles)
        return sorted(found, key=lambda one: -one.opened_at)

    def _unchecked(self, card: Card, since: Instant, checked: Instant | None, articles: tuple[str, ...]) -> list[Owed]:
        recorder = self._parts.fleet.recorders.get(card.recorder_id)
        if recorder is None:
            return []
        return [
            Owed(
                recorder_id=card.recorder_id,
                session_id=session.session_id,
                opened_at=Instant(session.opened_at),
                officers=tuple(sorted(self._holders.of(card.recorder_id, Instant(session.opened_at)))),
                articles=articles,
            )
            for session in recorder.sessions.values()
            if session.opened_at >= since and (checked is None or session.opened_at < checked)
        ]

    def _check(self, person: Person, card: Card) -> None:
        if self._parts.book.find(card.policy) is None:
            msg = f"policy: no policy {card.policy!r}"
            raise InvalidInput(msg, "policy")
        if not person.may_at(Right.RECORDER_EDIT, Place(unit_id=card.unit_id, site_id=card.site_id)):
            msg = "unit_id: not a unit of yours"
            raise InvalidInput(msg, "unit_id")

    async def _enter(
        self, person: Person, recorder_id: str, what: What, change: Callable[[Card], Card], note: str = ""
    ) -> Card:
        card = await recorders.change_card(
            self._parts.office,
            recorder_id,
            change,
            what=what,
            by=person.account_id,
            at=self._parts.clock.now(),
            note=note,
        )
        await self._registrar.told()
        return card

    async def _note(self, person: Person, what: str, card: Card, **facts: Any) -> None:
        await self._parts.audit.note(person, what, recorder_id=card.recorder_id, **facts)


def _kept(card: Card, before: Card) -> Card:
    """Return a card as it is to be, but for what is not written but decided."""
    return msgspec.structs.replace(card, kind=before.kind, state=before.state)


def _read(recorder: Recorder, least: dict[str, float], tolerance_s: float) -> list[Point]:
    """Return what a device's last telemetry says of the points."""
    found: list[Point] = []
    for name, ratio in (("battery", recorder.battery_ratio), ("space", recorder.storage_free_ratio)):
        if ratio is not None:
            percent = round(100 * ratio, 1)
            found.append(Point(id=name, ok=percent >= least.get(name, 0), value=percent, by_device=True))
    if recorder.clock_offset_s is not None:
        offset_s = round(recorder.clock_offset_s, 1)
        found.append(Point(id="clock", ok=abs(offset_s) <= tolerance_s, value=offset_s, by_device=True))
    found.append(Point(id="on", ok=True, by_device=True))
    return found
