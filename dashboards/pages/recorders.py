"""The ledger of recorders: all of them with who has which, and the card of each: tokens, upkeep, checks before use."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request, Response

from dashboards.pages import forms
from dashboards.pages.forms import go
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.registration.ledger_desk import DAY_MS, LedgerDesk
from dashboards.registration.registering import Registering
from domain.errors import InvalidInput
from domain.registry import Registration
from domain.wire import convert
from policies.loader import names
from storage.office import accounts, prechecks, recorders, units
from storage.office.prechecks import Check
from storage.office.recorders import Card, What

CHECKS_DAYS = 30
"""Checks that a card shows."""
OVERLAPS_DAYS = (0, 1, 3, 7, 14)
FIELDS = ("name", "model", "serial", "unit_id", "site_id", "policy", "bought_on", "note")


class Row(msgspec.Struct, frozen=True):
    """One recorder of the list."""

    card: Card
    holders: list[str]
    checked: Check | None
    is_asked: bool
    live: bool


def recorders_router(parts: Parts, registering: Registering) -> APIRouter:
    """Make the router of the ledger."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, registering)

    @router.get("/recorders")
    @declare(Right.RECORDER_SEE)
    async def listing(request: Request, person: SignedIn) -> Response:
        return await pages.listing(request, person)

    @router.post("/recorders")
    @declare(Right.RECORDER_EDIT)
    async def add(request: Request, person: SignedIn) -> Response:
        return await pages.add(request, person)

    @router.get("/recorders/{recorder_id}")
    @declare(Right.RECORDER_SEE)
    async def one(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.one(request, person, recorder_id)

    @router.post("/recorders/{recorder_id}")
    @declare(Right.RECORDER_EDIT)
    async def change(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.do(request, person, recorder_id, "change")

    @router.post("/recorders/{recorder_id}/checks")
    @declare(Right.RECORDER_SEE)
    async def check(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.do(request, person, recorder_id, "check")

    @router.post("/recorders/{recorder_id}/holders")
    @declare(Right.RECORDER_EDIT)
    async def issue(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.do(request, person, recorder_id, "issue")

    @router.post("/recorders/{recorder_id}/entries")
    @declare(Right.RECORDER_EDIT)
    async def entry(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.do(request, person, recorder_id, "entry")

    @router.post("/recorders/{recorder_id}/tokens")
    @declare(Right.RECORDER_EDIT)
    async def token(request: Request, person: SignedIn, recorder_id: str) -> Response:
        return await pages.token(request, person, recorder_id)

    return router


class _Pages:
    def __init__(self, parts: Parts, registering: Registering) -> None:
        self._parts, self._registrar = parts, registering.registrar
        self._desk = LedgerDesk(parts, registering.registrar, registering.holders)

    async def listing(
        self,
        request: Request,
        person: Person,
        *,
        status: int = 200,
        problem: str = "",
        typed: dict[str, str] | None = None,
    ) -> Response:
        today = await prechecks.checks(self._parts.office, since=self._desk.midnight())
        newest = {check.recorder_id: check for check in reversed(today)}
        people = await self._people()
        rows = [self._row(card, newest.get(card.recorder_id), people) for card in await self._desk.cards(person)]
        foreign = [one for one in self._registrar.foreign if self._shown(person, one)]
        return self._parts.shell.page(
            request,
            "recorders.html",
            status=status,
            rows=rows,
            owed=await self._desk.owed(person),
            people=people,
            foreign=foreign,
            may_edit=person.may(Right.RECORDER_EDIT),
            unit_names=await units.names(self._parts.office),
            policies=names(),
            default_policy=self._parts.settings.policy,
            problem=problem,
            typed=typed or {},
        )

    async def add(self, request: Request, person: Person) -> Response:
        form = await request.form()
        typed = {name: forms.text(form, name).strip() for name in ("recorder_id", "kind", *FIELDS)}
        try:
            card = await self._desk.add(person, convert(typed, Card))
        except InvalidInput as error:
            return await self.listing(request, person, status=422, problem=error.field, typed=typed)
        return go(f"/recorders/{card.recorder_id}")

    async def one(
        self,
        request: Request,
        person: Person,
        recorder_id: str,
        *,
        status: int = 200,
        problem: str = "",
        new_token: str = "",
    ) -> Response:
        card = await self._desk.card(person, recorder_id)
        office, now = self._parts.office, self._parts.clock.now()
        return self._parts.shell.page(
            request,
            "recorder_card.html",
            status=status,
            card=card,
            people=await self._people(),
            accounts=[one for one in await accounts.everybody(office) if one.state != "disabled"],
            holders=await recorders.holders(office, recorder_id),
            tokens=(await recorders.tokens(office)).get(recorder_id, []),
            lines=await recorders.lines(office, recorder_id),
            checks=await prechecks.checks(office, since=now.plus(-CHECKS_DAYS * DAY_MS), recorder_id=recorder_id),
            asked=self._desk.asked(card),
            told=self._desk.told_by_device(card),
            may_edit=person.may_at(Right.RECORDER_EDIT, self._desk.place(card)),
            may_check=self._desk.may_check(person, card),
            unit_names=await units.names(office),
            policies=names(),
            overlaps=OVERLAPS_DAYS,
            problem=problem,
            new_token=new_token,
        )

    async def do(self, request: Request, person: Person, recorder_id: str, what: str) -> Response:
        form = await request.form()
        try:
            if what == "change":
                said: dict[str, Any] = {name: forms.text(form, name, 4_000).strip() for name in FIELDS}
                said |= {"recorder_id": recorder_id, "expects_audio": bool(form.get("expects_audio"))}
                await self._desk.change(person, convert(said, Card))
            elif what == "check":
                card = await self._desk.card(person, recorder_id)
                found = {point.id: bool(form.get(f"point_{point.id}")) for point in self._desk.asked(card)}
                await self._desk.check(person, recorder_id, found, forms.text(form, "note", 1_000).strip())
            elif what == "issue":
                await self._desk.issue(person, recorder_id, forms.text(form, "account_id", 64) or None)
            else:
                note = forms.text(form, "note", 4_000).strip()
                await self._desk.entry(person, recorder_id, cast("What", forms.text(form, "what")), note)
        except InvalidInput as error:
            return await self.one(request, person, recorder_id, status=422, problem=error.field)
        return go(f"/recorders/{recorder_id}")

    async def token(self, request: Request, person: Person, recorder_id: str) -> Response:
        """Show a new token on the answer itself, and nowhere else: no address leads to it."""
        form = await request.form()
        days = forms.text(form, "overlap_days", 10)
        try:
            token = await self._desk.renew_token(person, recorder_id, float(days) if days.isdecimal() else 0.0)
        except InvalidInput as error:
            return await self.one(request, person, recorder_id, status=422, problem=error.field)
        return await self.one(request, person, recorder_id, new_token=token)

    def _row(self, card: Card, checked: Check | None, people: dict[str, str]) -> Row:
        recorder, now = self._parts.fleet.recorders.get(card.recorder_id), self._parts.clock.now()
        held = [people.get(one, one) for one in sorted(self._desk.place(card).officers)]
        return Row(card, held, checked, bool(self._desk.asked(card)), recorder is not None and recorder.is_live(now))

    def _shown(self, person: Person, one: Registration) -> bool:
        is_ours = one.kind != "premises_camera" and one.state != "retired"
        return is_ours and person.may_at(Right.RECORDER_SEE, self._parts.place(one.recorder_id))

    async def _people(self) -> dict[str, str]:
        return {one.account_id: one.name for one in await accounts.everybody(self._parts.office)}
