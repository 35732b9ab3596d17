"""Sites: all of them with how far their cameras are, and each with its party, contacts and cameras."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from dashboards.pages import forms
from dashboards.pages.forms import go
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.registration.desk import PremisesDesk, place_of
from dashboards.registration.registrar import Registrar
from domain.errors import InvalidInput
from domain.registry import Registration
from domain.wire import convert
from policies.loader import names
from storage.office import premises, units
from storage.office.admission import Step, day
from storage.office.dossier import Camera, Contact, Site, State

REMIND_DAYS = 30
"""So long before a certificate runs out it is listed."""
BLANK_CONTACTS = 2
MAX_CONTACTS = 10
NEXT: dict[str, Step] = {"draft": "confirm", "confirmed": "notice", "noticed": "activate", "suspended": "resume"}
"""State → the step that comes next."""
ORDER: tuple[State, ...] = ("active", "noticed", "confirmed", "draft", "suspended", "retired")


class Row(msgspec.Struct, frozen=True):
    """One site of the list."""

    site: Site
    states: list[tuple[str, int]]
    cameras: int
    unfinished: int


class Expiring(msgspec.Struct, frozen=True):
    """A certificate that runs out soon, or has."""

    site: Site
    camera: Camera
    days: int


def premises_router(parts: Parts, registrar: Registrar) -> APIRouter:
    """Make the router of the list of sites and of each site."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, PremisesDesk(parts, registrar), registrar)

    @router.get("/premises")
    @declare(Right.PREMISES_SEE)
    async def listing(request: Request, person: SignedIn) -> Response:
        return await pages.listing(request, person)

    @router.post("/premises")
    @declare(Right.PREMISES_EDIT)
    async def add(request: Request, person: SignedIn) -> Response:
        return await pages.add(request, person)

    @router.get("/premises/{site_id}")
    @declare(Right.PREMISES_SEE)
    async def one(request: Request, person: SignedIn, site_id: str) -> Response:
        return await pages.one(request, person, site_id)

    @router.post("/premises/{site_id}")
    @declare(Right.PREMISES_EDIT)
    async def change(request: Request, person: SignedIn, site_id: str) -> Response:
        return await pages.change(request, person, site_id)

    @router.post("/premises/{site_id}/cameras")
    @declare(Right.PREMISES_EDIT)
    async def add_camera(request: Request, person: SignedIn, site_id: str) -> Response:
        return await pages.add_camera(request, person, site_id)

    return router


class _Pages:
    def __init__(self, parts: Parts, desk: PremisesDesk, registrar: Registrar) -> None:
        self._parts, self._desk, self._registrar = parts, desk, registrar

    async def listing(
        self,
        request: Request,
        person: Person,
        *,
        status: int = 200,
        problem: str = "",
        typed: dict[str, str] | None = None,
    ) -> Response:
        sites = await self._desk.sites(person)
        cameras: dict[str, list[Camera]] = {}
        for camera in await premises.all_cameras(self._parts.office):
            cameras.setdefault(camera.site_id, []).append(camera)
        today = self._parts.clock.now().datetime().date()
        return self._parts.shell.page(
            request,
            "premises.html",
            status=status,
            rows=[_row(site, cameras.get(site.site_id, [])) for site in sites],
            expiring=sorted(
                (one for site in sites for one in expiring(site, cameras.get(site.site_id, []), today)),
                key=lambda one: one.days,
            ),
            foreign=[
                one
                for one in self._registrar.foreign
                if _is_camera(one) and person.may_at(Right.PREMISES_SEE, _at(one))
            ],
            may_edit=person.may(Right.PREMISES_EDIT),
            unit_names=await units.names(self._parts.office),
            problem=problem,
            typed=typed or {},
        )

    async def add(self, request: Request, person: Person) -> Response:
        form = await request.form()
        typed = {name: forms.text(form, name).strip() for name in ("site_id", "unit_id", "name")}
        try:
            site = await self._desk.put_site(person, convert(typed, Site), is_new=True)
        except InvalidInput as error:
            return await self.listing(request, person, status=422, problem=error.field, typed=typed)
        return go(f"/premises/{site.site_id}")

    async def one(
        self, request: Request, person: Person, site_id: str, *, status: int = 200, problem: str = "", **typed: Any
    ) -> Response:
        site = await self._desk.site(person, site_id)
        cameras = await premises.all_cameras(self._parts.office, site_id)
        shown = [
            (camera, len(self._desk.gaps(NEXT[camera.state], site, camera)) if camera.state in NEXT else 0)
            for camera in cameras
        ]
        blank = min(BLANK_CONTACTS, MAX_CONTACTS - len(site.contacts))
        return self._parts.shell.page(
            request,
            "premises_site.html",
            status=status,
            site=typed.pop("site", site),
            contacts=[*site.contacts, *[Contact(name="")] * blank],
            cameras=shown,
            may_edit=person.may_at(Right.PREMISES_EDIT, place_of(site)),
            unit_names=await units.names(self._parts.office),
            policies=names(),
            default_policy=self._parts.settings.policy,
            new_id=_free_id(site_id, {camera.camera_id for camera in cameras}),
            problem=problem,
        )

    async def change(self, request: Request, person: Person, site_id: str) -> Response:
        form = await request.form()
        try:
            await self._desk.put_site(person, convert(_site_of(site_id, form), Site), is_new=False)
        except InvalidInput as error:
            return await self.one(request, person, site_id, status=422, problem=error.field)
        return go(f"/premises/{site_id}")

    async def add_camera(self, request: Request, person: Person, site_id: str) -> Response:
        form = await request.form()
        typed = {name: forms.text(form, name).strip() for name in ("camera_id", "name", "policy")}
        try:
            camera = await self._desk.add(person, convert({**typed, "site_id": site_id}, Camera))
        except InvalidInput as error:
            return await self.one(request, person, site_id, status=422, problem=error.field)
        return go(f"/premises/{site_id}/cameras/{camera.camera_id}")


def expiring(site: Site, cameras: list[Camera], today: date) -> list[Expiring]:
    """Return the certificates of a site that run out within `REMIND_DAYS`, or have."""
    found = []
    for camera in cameras:
        last = day(camera.certificate.expires_on)
        if last is not None and camera.state != "retired" and last - today <= timedelta(days=REMIND_DAYS):
            found.append(Expiring(site, camera, (last - today).days))
    return found


def _row(site: Site, cameras: list[Camera]) -> Row:
    states = Counter(camera.state for camera in cameras)
    unfinished = states["draft"] + states["confirmed"] + states["noticed"]
    return Row(site, [(state, states[state]) for state in ORDER if states[state]], len(cameras), unfinished)


def _site_of(site_id: str, form: FormData) -> dict[str, Any]:
    said: dict[str, Any] = {
        name: forms.text(form, name, 4_000).strip()
        for name in ("unit_id", "name", "party_name", "credit_code", "address", "note")
    }
    columns = {name: forms.texts(form, f"contact_{name}") for name in ("name", "role", "phone", "mail", "channel")}
    rows = zip(*columns.values(), strict=False)
    contacts = [dict(zip(columns, (value.strip() for value in row), strict=True)) for row in rows]
    return {**said, "site_id": site_id, "contacts": [one for one in contacts if one["name"]]}


def _free_id(site_id: str, taken: set[str]) -> str:
    number = 1
    while f"{site_id}-{number}" in taken:
        number += 1
    return f"{site_id}-{number}"[:63]


def _is_camera(registration: Registration) -> bool:
    return registration.kind == "premises_camera" and registration.state != "retired"


def _at(registration: Registration) -> Place:
    return Place(unit_id=registration.unit_id or "", site_id=registration.site_id or "")
