"""One camera of a site: its papers step by step, what each step still lacks and by which article, and its history."""

from __future__ import annotations

from typing import Any, NamedTuple, cast, get_args

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from dashboards.pages import forms
from dashboards.pages.forms import go
from dashboards.pages.premises import NEXT
from dashboards.pages.shell import HEADERS
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.problem import Missing
from dashboards.registration.desk import PremisesDesk, place_of
from dashboards.registration.registrar import Registrar
from domain.errors import InvalidInput
from domain.wire import convert, to_builtins
from policies.loader import names
from storage.office import premises
from storage.office.admission import MOVES, NotReady, Part, Step
from storage.office.documents import MAX_BYTES
from storage.office.dossier import Camera, Certificate, Confirmation, Notice, Review

VERIFICATIONS = ("专业质量检测", "计量检定")
PAPER_HEADERS = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


class Shape(NamedTuple):
    """A part of the dossier as a form.

    Attributes:
        type: Its struct.
        texts: Fields of text.
        file: Field of the file.
        lists: Fields of several texts.
        flags: Fields that are ticked.
    """

    type: type[msgspec.Struct]
    texts: tuple[str, ...]
    file: str
    lists: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


SHAPES: dict[str, Shape] = {
    "confirmation": Shape(
        Confirmation, ("signed_on", "agency_signatory", "party_signatory"), "document", lists=("consents",)
    ),
    "notice": Shape(Notice, ("posted_on", "where"), "photo"),
    "certificate": Shape(Certificate, ("kind", "number", "issuer", "expires_on"), "document", flags=("required",)),
    "review": Shape(
        Review,
        ("legality_by", "technology_by", "reviewed_on", "markings", "published_at", "published_on"),
        "document",
    ),
}
_ROOT = "/premises/{site_id}/cameras/{camera_id}"


def cameras_router(parts: Parts, registrar: Registrar) -> APIRouter:
    """Make the router of a camera's pages."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, PremisesDesk(parts, registrar))

    @router.get(_ROOT)
    @declare(Right.PREMISES_SEE)
    async def one(request: Request, person: SignedIn, site_id: str, camera_id: str) -> Response:
        return await pages.one(request, person, site_id, camera_id)

    @router.get(_ROOT + "/print")
    @declare(Right.PREMISES_SEE)
    async def sheet(request: Request, person: SignedIn, site_id: str, camera_id: str) -> Response:
        return await pages.one(request, person, site_id, camera_id, template="camera_print.html")

    @router.get(_ROOT + "/papers/{sha256}")
    @declare(Right.PREMISES_SEE)
    async def paper(person: SignedIn, site_id: str, camera_id: str, sha256: str) -> Response:
        return await pages.paper(person, camera_id, sha256)

    @router.post(_ROOT + "/look")
    @declare(Right.PREMISES_EDIT)
    async def look(request: Request, person: SignedIn, site_id: str, camera_id: str) -> Response:
        return await pages.look(request, person, site_id, camera_id)

    @router.post(_ROOT + "/steps")
    @declare(Right.PREMISES_SEE)
    async def step(request: Request, person: SignedIn, site_id: str, camera_id: str) -> Response:
        return await pages.step(request, person, site_id, camera_id)

    @router.post(_ROOT + "/{part}")
    @declare(Right.PREMISES_EDIT)
    async def change(request: Request, person: SignedIn, site_id: str, camera_id: str, part: str) -> Response:
        return await pages.change(request, person, site_id, camera_id, part)

    return router


class _Pages:
    def __init__(self, parts: Parts, desk: PremisesDesk) -> None:
        self._parts, self._desk = parts, desk

    async def one(
        self,
        request: Request,
        person: Person,
        site_id: str,
        camera_id: str,
        *,
        status: int = 200,
        problem: InvalidInput | None = None,
        template: str = "camera.html",
    ) -> Response:
        site, camera = await self._desk.camera(person, camera_id, site_id=site_id)
        rules, place = self._desk.rules(camera), place_of(site)
        lacking: dict[str, list[Any]] = {}
        for gap in self._desk.gaps("activate", site, camera):
            lacking.setdefault(gap.part, []).append(gap)
        following = NEXT.get(camera.state)
        recorder = self._parts.fleet.recorders.get(camera_id)
        return self._parts.shell.page(
            request,
            template,
            status=status,
            site=site,
            camera=camera,
            lacking=lacking,
            next_step=following,
            next_gaps=self._desk.gaps(following, site, camera) if following else [],
            rules=rules,
            verifications=VERIFICATIONS,
            policies=names(),
            history=await premises.history(self._parts.office, camera_id),
            may_edit=person.may_at(Right.PREMISES_EDIT, place),
            may_review=person.may_at(Right.PREMISES_REVIEW, place),
            is_live=recorder is not None and recorder.is_live(self._parts.clock.now()),
            has_secret=camera_id in await premises.secrets(self._parts.office),
            printed_at=self._parts.clock.now().rfc3339()[:16].replace("T", " "),
            root=f"/premises/{site.site_id}/cameras/{camera.camera_id}",
            problem=problem.field if problem is not None else "",
            problem_gaps=problem.gaps if isinstance(problem, NotReady) else [],
        )

    async def paper(self, person: Person, camera_id: str, sha256: str) -> Response:
        document, content = await self._desk.paper(person, camera_id, sha256)
        return Response(content, media_type=document.media_type, headers=PAPER_HEADERS)

    async def look(self, request: Request, person: Person, site_id: str, camera_id: str) -> Response:
        try:
            await self._desk.look(person, camera_id)
        except InvalidInput as error:
            return await self.one(request, person, site_id, camera_id, status=422, problem=error)
        return go(f"/premises/{site_id}/cameras/{camera_id}#address")

    async def step(self, request: Request, person: Person, site_id: str, camera_id: str) -> Response:
        form = await request.form()
        step = cast("Step", forms.text(form, "step"))
        if step not in MOVES:
            raise Missing("no such step")
        try:
            await self._desk.step(person, camera_id, step, forms.text(form, "reason", 1000).strip())
        except InvalidInput as error:
            return await self.one(request, person, site_id, camera_id, status=422, problem=error)
        return go(f"/premises/{site_id}/cameras/{camera_id}")

    async def change(self, request: Request, person: Person, site_id: str, camera_id: str, part: str) -> Response:
        if part not in get_args(Part):
            raise Missing("no such part")
        form = await request.form()
        try:
            await self._save(person, camera_id, cast("Part", part), form)
            if part == "address" and forms.text(form, "then") == "look":
                await self._desk.look(person, camera_id)
            elif forms.text(form, "then") in MOVES:
                await self._desk.step(person, camera_id, cast("Step", forms.text(form, "then")))
        except InvalidInput as error:
            return await self.one(request, person, site_id, camera_id, status=422, problem=error)
        return go(f"/premises/{site_id}/cameras/{camera_id}#{part}")

    async def _save(self, person: Person, camera_id: str, part: Part, form: FormData) -> None:
        if part == "basics":
            said = {name: forms.text(form, name).strip() for name in ("name", "place", "point", "standard", "policy")}
            await self._desk.change(person, camera_id, part, lambda camera: _with(camera, said))
        elif part == "address":
            await self._save_address(person, camera_id, form)
        else:
            shape = SHAPES[part]
            filled = await self._filled(person, camera_id, part, shape, form)
            await self._desk.change(person, camera_id, part, lambda camera: _with_part(camera, part, shape, filled))

    async def _save_address(self, person: Person, camera_id: str, form: FormData) -> None:
        how = {
            "transport": forms.text(form, "transport") or "tcp",
            "tls_sha256": forms.text(form, "tls_sha256").strip(),
            "expects_audio": bool(form.get("expects_audio")),
            "continuous": bool(form.get("continuous")),
        }
        checked = convert({"camera_id": camera_id, "site_id": "x", **how}, Camera)
        user, password = forms.text(form, "user"), forms.text(form, "password")
        more = {name: getattr(checked, name) for name in how}
        await self._desk.set_address(person, camera_id, forms.text(form, "url"), user, password, **more)

    async def _filled(self, person: Person, camera_id: str, part: str, shape: Shape, form: FormData) -> dict[str, Any]:
        filled: dict[str, Any] = {name: forms.text(form, name).strip() for name in shape.texts}
        filled |= {name: forms.texts(form, name) for name in shape.lists}
        filled |= {name: bool(form.get(name)) for name in shape.flags}
        file = form.get(shape.file)
        if isinstance(file, UploadFile) and file.size:
            content = await file.read(MAX_BYTES + 1)
            field = f"{part}.{shape.file}"
            kept = await self._desk.hand_in(person, camera_id, content, file.filename or field, field)
            filled[shape.file] = kept.sha256
        return filled


def _with(camera: Camera, said: dict[str, str]) -> Camera:
    """Return a camera with other fields; raises InvalidInput."""
    return convert({**to_builtins(camera), **said}, Camera)


def _with_part(camera: Camera, part: str, shape: Shape, filled: dict[str, Any]) -> Camera:
    """Return a camera with another part of its dossier; raises InvalidInput."""
    try:
        new = convert({**to_builtins(getattr(camera, part)), **filled}, shape.type)
    except InvalidInput as error:
        raise InvalidInput(str(error), f"{part}.{error.field}") from error
    return msgspec.structs.replace(camera, **{part: new})
