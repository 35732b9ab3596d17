"""Registration for programs: the same desks as the pages, as JSON."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from dashboards import query
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.problem import Missing
from dashboards.registration.addresses import address_of
from dashboards.registration.bodies import as_json, read_object
from dashboards.registration.desk import PremisesDesk
from dashboards.registration.ledger_api import add_ledger
from dashboards.registration.ledger_desk import LedgerDesk
from dashboards.registration.registering import Registering
from domain.errors import InvalidInput
from domain.wire import convert, to_builtins
from storage.office import premises
from storage.office.admission import Gap, Part, Step
from storage.office.documents import MAX_BYTES, Document
from storage.office.dossier import Camera, Certificate, Confirmation, Notice, Review, Site

PREFIX = "/api/v1"
T = TypeVar("T")
PAPERS: dict[str, type[Any]] = {
    "confirmation": Confirmation,
    "notice": Notice,
    "certificate": Certificate,
    "review": Review,
}
BASICS = ("name", "policy", "place", "point", "standard")


class Sites(msgspec.Struct):
    """The sites that somebody may see."""

    items: list[Site]


class CameraFile(msgspec.Struct):
    """A camera with its papers.

    Attributes:
        camera: As it stands; without its password.
        lacking: What it still lacks to come into use.
    """

    camera: Camera
    lacking: list[Gap]


class CameraFiles(msgspec.Struct):
    """The cameras that somebody may see."""

    items: list[CameraFile]


class AddressSaid(msgspec.Struct, forbid_unknown_fields=True):
    """How a camera is reached; the password goes in and never comes out."""

    url: str
    user: str = ""
    password: str = ""
    transport: str = "tcp"
    tls_sha256: str = ""
    expects_audio: bool = False
    continuous: bool = True


class StepSaid(msgspec.Struct, forbid_unknown_fields=True):
    """A step of a camera."""

    step: Step
    reason: str = ""


def registration_api(parts: Parts, registering: Registering) -> APIRouter:
    """Make the router of `/api/v1/sites`, `/cameras` and `/recorder-ledger`."""
    router = parts.guard.router(PREFIX)
    desk = PremisesDesk(parts, registering.registrar)
    _add_sites(router, desk)
    _add_cameras(router, parts, desk)
    _add_changes(router, desk)
    _add_papers(router, desk)
    add_ledger(router, parts, LedgerDesk(parts, registering.registrar, registering.holders))
    return router


def _add_sites(router: APIRouter, desk: PremisesDesk) -> None:
    @router.get("/sites", responses=answers(Sites))
    @declare(Right.PREMISES_SEE)
    async def sites(request: Request, person: SignedIn) -> Response:
        """Sites, by id."""
        query.only(request, ())
        return as_json(Sites(await desk.sites(person)))

    @router.get("/sites/{site_id}", responses=answers(Site))
    @declare(Right.PREMISES_SEE)
    async def site(person: SignedIn, site_id: str) -> Response:
        """One site."""
        return as_json(await desk.site(person, site_id))

    @router.put("/sites/{site_id}", responses=answers(Site))
    @declare(Right.PREMISES_EDIT)
    async def put_site(request: Request, person: SignedIn, site_id: str) -> Response:
        """Enter a site, or change it."""
        said = convert({**await read_object(request), "site_id": site_id}, Site)
        known = await desk.has_site(site_id)
        return as_json(await desk.put_site(person, said, is_new=not known))


async def _answered(desk: PremisesDesk, person: Person, camera_id: str, status: int = 200) -> Response:
    site, camera = await desk.camera(person, camera_id)
    return as_json(CameraFile(camera, desk.gaps("activate", site, camera)), status)


def _add_cameras(router: APIRouter, parts: Parts, desk: PremisesDesk) -> None:
    @router.get("/cameras", responses=answers(CameraFiles))
    @declare(Right.PREMISES_SEE)
    async def cameras(request: Request, person: SignedIn, site_id: str | None = None) -> Response:
        """Cameras of sites, by id, with what each still lacks."""
        query.only(request, {"site_id"})
        sites = {site.site_id: site for site in await desk.sites(person)}
        found = [
            CameraFile(camera, desk.gaps("activate", sites[camera.site_id], camera))
            for camera in await premises.all_cameras(parts.office)
            if camera.site_id in sites and site_id in (None, camera.site_id)
        ]
        return as_json(CameraFiles(found))

    @router.post("/cameras", status_code=201, responses=answers(CameraFile, "Entered, as a draft.", 201))
    @declare(Right.PREMISES_EDIT)
    async def add(request: Request, person: SignedIn) -> Response:
        """Enter a camera, as a draft: `camera_id`, `site_id`, and any of name, policy, place, point, standard, url."""
        said = await read_object(request)
        url = said.pop("url", None)
        others = said.keys() - {"camera_id", "site_id", *BASICS}
        if others:
            raise InvalidInput("only what a draft begins with", min(others))
        address = address_of(url) if isinstance(url, str) and url else None
        camera = await desk.add(person, convert(said, Camera), address)
        return await _answered(desk, person, camera.camera_id, 201)

    @router.get("/cameras/{camera_id}", responses=answers(CameraFile))
    @declare(Right.PREMISES_SEE)
    async def camera(person: SignedIn, camera_id: str) -> Response:
        """One camera."""
        return await _answered(desk, person, camera_id)


def _add_changes(router: APIRouter, desk: PremisesDesk) -> None:
    @router.put("/cameras/{camera_id}/address", responses=answers(CameraFile))
    @declare(Right.PREMISES_EDIT)
    async def set_address(request: Request, person: SignedIn, camera_id: str) -> Response:
        """Say how it is reached."""
        said = convert(await read_object(request), AddressSaid)
        how = {name: getattr(said, name) for name in ("transport", "tls_sha256", "expects_audio", "continuous")}
        convert({"camera_id": camera_id, "site_id": "x", **how}, Camera)
        await desk.set_address(person, camera_id, said.url, said.user, said.password, **how)
        return await _answered(desk, person, camera_id)

    @router.post("/cameras/{camera_id}/look", responses=answers(CameraFile))
    @declare(Right.PREMISES_EDIT)
    async def look(person: SignedIn, camera_id: str) -> Response:
        """Look at its address; within ten seconds `camera.seen` says what came."""
        await desk.look(person, camera_id)
        return await _answered(desk, person, camera_id)

    @router.post("/cameras/{camera_id}/steps", responses=answers(CameraFile))
    @declare(Right.PREMISES_SEE)
    async def step(request: Request, person: SignedIn, camera_id: str) -> Response:
        """Take a step: confirm, notice, activate, suspend, resume, retire."""
        said = convert(await read_object(request), StepSaid)
        await desk.step(person, camera_id, said.step, said.reason)
        return await _answered(desk, person, camera_id)

    @router.put("/cameras/{camera_id}/{part}", responses=answers(CameraFile))
    @declare(Right.PREMISES_EDIT)
    async def change(request: Request, person: SignedIn, camera_id: str, part: str) -> Response:
        """Change `basics`, `confirmation`, `notice`, `certificate` or `review`, whole; papers by their SHA-256."""
        said = await read_object(request)
        if part == "basics":
            new = {name: said[name] for name in BASICS if name in said}
            await desk.change(person, camera_id, "basics", lambda now: convert({**to_builtins(now), **new}, Camera))
        elif part in PAPERS:
            filled = convert(said, PAPERS[part])
            await desk.check_papers(filled)
            await desk.change(
                person, camera_id, cast("Part", part), lambda now: msgspec.structs.replace(now, **{part: filled})
            )
        else:
            raise Missing("no such part")
        return await _answered(desk, person, camera_id)


def _add_papers(router: APIRouter, desk: PremisesDesk) -> None:
    @router.post("/cameras/{camera_id}/papers", status_code=201, responses=answers(Document, "Kept.", 201))
    @declare(Right.PREMISES_EDIT)
    async def hand_in(request: Request, person: SignedIn, camera_id: str) -> Response:
        """Hand a file in (field `file` of a form): PDF, JPEG or PNG; it belongs to a part once that names it."""
        file = (await request.form()).get("file")
        content = await file.read(MAX_BYTES + 1) if isinstance(file, UploadFile) else b""
        name = (file.filename if isinstance(file, UploadFile) else "") or "file"
        return as_json(await desk.hand_in(person, camera_id, content, name, "file"), 201)
