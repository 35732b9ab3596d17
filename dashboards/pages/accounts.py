"""Accounts, units and programs' tokens, as administrators keep them; each within what they manage themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from dashboards.pages import forms
from dashboards.pages.forms import go
from dashboards.parts import Parts
from dashboards.people.accounts import Accounts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.requests import Origins
from dashboards.people.rights import Person, Place, Right, Role
from dashboards.problem import Missing
from domain.errors import InvalidInput
from storage.office import accounts, integrations, units
from storage.office.accounts import Account, DutyRow

BLANK_ROWS = 3


def accounts_router(parts: Parts, origins: Origins) -> APIRouter:
    """Make the router of accounts, units and tokens."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, origins)

    @router.get("/accounts")
    @declare(Right.ACCOUNT_MANAGE)
    async def listing(request: Request, person: SignedIn) -> Response:
        return await pages.listing(request, person)

    @router.post("/accounts")
    @declare(Right.ACCOUNT_MANAGE)
    async def make(request: Request, person: SignedIn) -> Response:
        return await pages.make(request, person)

    @router.post("/accounts/units")
    @declare(Right.ACCOUNT_MANAGE)
    async def name_unit(request: Request, person: SignedIn) -> Response:
        return await pages.name_unit(request, person)

    @router.get("/accounts/{account_id}")
    @declare(Right.ACCOUNT_MANAGE)
    async def one(request: Request, person: SignedIn, account_id: str) -> Response:
        return await pages.one(request, person, await pages.theirs(person, account_id))

    @router.post("/accounts/{account_id}/{what}")
    @declare(Right.ACCOUNT_MANAGE)
    async def change(request: Request, person: SignedIn, account_id: str, what: str) -> Response:
        return await pages.change(request, person, await pages.theirs(person, account_id), what)

    @router.get("/integrations")
    @declare(Right.INTEGRATION_MANAGE)
    async def programs(request: Request, person: SignedIn) -> Response:
        return await pages.programs(request, person)

    @router.post("/integrations")
    @declare(Right.INTEGRATION_MANAGE)
    async def make_token(request: Request, person: SignedIn) -> Response:
        return await pages.make_token(request, person)

    @router.post("/integrations/{integration_id}/revoke")
    @declare(Right.INTEGRATION_MANAGE)
    async def revoke(person: SignedIn, integration_id: str) -> Response:
        return await pages.revoke(person, integration_id)

    return router


class _Pages:
    def __init__(self, parts: Parts, origins: Origins) -> None:
        self._parts, self._origins = parts, origins
        self._accounts = Accounts(parts.office, parts.audit, parts.clock)

    async def theirs(self, person: Person, account_id: str) -> Account:
        """Return an account that somebody manages.

        Raises:
            Missing: There is none, or it is another's to manage.
        """
        found = await accounts.get(self._parts.office, account_id[:64])
        if found is None or not manages(person, Right.ACCOUNT_MANAGE, found.duties):
            raise Missing("no such account")
        return found

    async def listing(self, request: Request, person: Person, *, status: int = 200, **context: Any) -> Response:
        everybody = await accounts.everybody(self._parts.office)
        mine = [one for one in everybody if manages(person, Right.ACCOUNT_MANAGE, one.duties)]
        blank = {"problem": "", "login": "", "name": "", "rows": _rows(())}
        return await self._draw(request, "accounts.html", status, accounts=mine, **blank | context)

    async def make(self, request: Request, person: Person) -> Response:
        form = await request.form()
        login, name, held = forms.text(form, "login", 64), forms.text(form, "name", 200), _duties(form)
        try:
            _within(person, Right.ACCOUNT_MANAGE, held)
            made = await self._accounts.make(person, login, name, held)
        except InvalidInput as error:
            typed = {"login": login, "name": name, "rows": _rows(held)}
            return await self.listing(request, person, status=422, problem=error.field, **typed)
        return await self._link(request, made, await self._accounts.invite(person, made))

    async def name_unit(self, request: Request, person: Person) -> Response:
        form = await request.form()
        unit_id, name = forms.text(form, "unit", 200).strip(), forms.text(form, "name", 200).strip()
        usable = unit_id and name and (unit_id + name).isprintable()
        if not usable or not person.may_at(Right.ACCOUNT_MANAGE, Place(unit_id=unit_id)):
            return await self.listing(request, person, status=422, problem="unit")
        await self._parts.audit.note(person, "unit.named", unit=unit_id, name=name)
        await units.set_name(self._parts.office, unit_id, name)
        return go("/accounts")

    async def one(
        self, request: Request, person: Person, account: Account, *, status: int = 200, problem: str = ""
    ) -> Response:
        own = account.account_id == person.account_id
        rows = _rows(account.duties)
        return await self._draw(
            request, "accounts_one.html", status, account=account, rows=rows, own=own, problem=problem
        )

    async def change(self, request: Request, person: Person, account: Account, what: str) -> Response:
        if account.account_id == person.account_id and what != "name":
            return await self.one(request, person, account, status=422)
        form = await request.form()
        try:
            link = await self._do(person, account, what, form)
        except InvalidInput as error:
            return await self.one(request, person, account, status=422, problem=error.field)
        return await self._link(request, account, link) if link else go(f"/accounts/{account.account_id}")

    async def _do(self, person: Person, account: Account, what: str, form: FormData) -> str:
        """Do one of the things there are to do; return the token of a link to be handed over, where it made one."""
        desk = self._accounts
        if what == "name":
            await desk.set_name(person, account, forms.text(form, "name", 200))
        elif what == "duties":
            held = _duties(form)
            _within(person, Right.ACCOUNT_MANAGE, held)
            await desk.set_duties(person, account, held)
        elif what == "invite" and account.state == "invited":
            return await desk.invite(person, account)
        elif what == "reset" and account.state != "disabled":
            return await desk.reset(person, account)
        elif what == "disable":
            await desk.disable(person, account)
        elif what == "enable" and account.state == "disabled":
            await desk.enable(person, account)
        else:
            raise Missing(f"nothing of the kind to be done with {account.login}")
        return ""

    async def programs(self, request: Request, person: Person, *, status: int = 200, **context: Any) -> Response:
        everything = await integrations.everything(self._parts.office)
        mine = [one for one in everything if manages(person, Right.INTEGRATION_MANAGE, one.duties)]
        now = self._parts.clock.now()
        blank = {"problem": "", "name": "", "days": 365, "rows": _rows(()), "token": ""}
        return await self._draw(request, "integrations.html", status, integrations=mine, at=now, **blank | context)

    async def make_token(self, request: Request, person: Person) -> Response:
        form = await request.form()
        name, held, asked = forms.text(form, "name", 200), _duties(form), forms.text(form, "days", 5)
        days = int(asked) if asked.isascii() and asked.isdigit() else 0
        try:
            _within(person, Right.INTEGRATION_MANAGE, held)
            _, token = await self._accounts.make_integration(person, name, held, days)
        except InvalidInput as error:
            typed = {"name": name, "days": days, "rows": _rows(held)}
            return await self.programs(request, person, status=422, problem=error.field, **typed)
        return await self.programs(request, person, token=token)

    async def revoke(self, person: Person, integration_id: str) -> Response:
        everything = await integrations.everything(self._parts.office)
        found = next((one for one in everything if one.integration_id == integration_id), None)
        if found is None or not manages(person, Right.INTEGRATION_MANAGE, found.duties):
            raise Missing("no such integration")
        await self._accounts.revoke(person, integration_id)
        return go("/integrations")

    async def _link(self, request: Request, account: Account, token: str) -> Response:
        address = f"{self._origins.here(request)}/link/{token}"
        return self._parts.shell.page(request, "accounts_link.html", account=account, address=address)

    async def _draw(self, request: Request, template: str, status: int, **context: Any) -> Response:
        named = await units.names(self._parts.office)
        fleet = self._parts.fleet.recorders.values()
        known = sorted({*named, *(recorder.unit_id for recorder in fleet if recorder.unit_id)})
        sites = sorted({recorder.site_id for recorder in fleet if recorder.site_id})
        shared = {"roles": list(Role), "unit_names": named, "unit_ids": known, "site_ids": sites}
        return self._parts.shell.page(request, template, status=status, **shared, **context)


def manages(person: Person, right: Right, duties: Sequence[DutyRow]) -> bool:
    """Tell whether all of some duties lie within what somebody manages; none lie within the whole agency alone."""
    places = [Place(unit_id=duty.unit_id, site_id=duty.site_id) for duty in duties] or [Place()]
    return all(person.may_at(right, place) for place in places)


def _within(person: Person, right: Right, duties: Sequence[DutyRow]) -> None:
    if not duties or not manages(person, right, duties):
        raise InvalidInput("duties: none, or beyond what you manage", "duties")


def _duties(form: FormData) -> list[DutyRow]:
    columns = [forms.texts(form, name, 200) for name in ("role", "unit", "site")]
    rows = zip_longest(*columns, fillvalue="")
    return [DutyRow(role.strip(), unit.strip(), site.strip()) for role, unit, site in rows if role.strip()]


def _rows(duties: Sequence[DutyRow]) -> list[DutyRow]:
    return [*duties, *([DutyRow("")] * BLANK_ROWS)]
