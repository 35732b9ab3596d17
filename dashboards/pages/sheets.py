"""Import and export of sites with their cameras, and of the ledger of recorders."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from dashboards.pages.shell import HEADERS
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.registration import sheets
from dashboards.registration.desk import PremisesDesk
from dashboards.registration.importing import PREMISES_COLUMNS, RECORDER_COLUMNS, Imported, Importer
from dashboards.registration.ledger_desk import LedgerDesk
from dashboards.registration.registering import Registering
from domain.errors import InvalidInput
from storage.office import premises
from storage.office.dossier import Site

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv; charset=utf-8"


def sheets_router(parts: Parts, registering: Registering) -> APIRouter:
    """Make the router."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, registering)

    @router.get("/premises.xlsx")
    @declare(Right.PREMISES_SEE)
    async def premises_xlsx(person: SignedIn) -> Response:
        return _file(XLSX, "premises.xlsx", sheets.to_xlsx(PREMISES_COLUMNS, await pages.premises(person)))

    @router.get("/premises.csv")
    @declare(Right.PREMISES_SEE)
    async def premises_csv(person: SignedIn) -> Response:
        return _file(CSV, "premises.csv", sheets.to_csv(PREMISES_COLUMNS, await pages.premises(person)))

    @router.get("/recorders.xlsx")
    @declare(Right.RECORDER_SEE)
    async def recorders_xlsx(person: SignedIn) -> Response:
        return _file(XLSX, "recorders.xlsx", sheets.to_xlsx(RECORDER_COLUMNS, await pages.recorders(person)))

    @router.get("/recorders.csv")
    @declare(Right.RECORDER_SEE)
    async def recorders_csv(person: SignedIn) -> Response:
        return _file(CSV, "recorders.csv", sheets.to_csv(RECORDER_COLUMNS, await pages.recorders(person)))

    @router.get("/premises-import")
    @declare(Right.PREMISES_EDIT)
    async def ask_premises(request: Request, person: SignedIn) -> Response:
        return pages.asked(request, "premises")

    @router.post("/premises-import")
    @declare(Right.PREMISES_EDIT)
    async def take_premises(request: Request, person: SignedIn) -> Response:
        return await pages.take(request, person, "premises")

    @router.get("/recorders-import")
    @declare(Right.RECORDER_EDIT)
    async def ask_recorders(request: Request, person: SignedIn) -> Response:
        return pages.asked(request, "recorders")

    @router.post("/recorders-import")
    @declare(Right.RECORDER_EDIT)
    async def take_recorders(request: Request, person: SignedIn) -> Response:
        return await pages.take(request, person, "recorders")

    return router


class _Pages:
    def __init__(self, parts: Parts, registering: Registering) -> None:
        self._parts = parts
        self._premises = PremisesDesk(parts, registering.registrar)
        self._ledger = LedgerDesk(parts, registering.registrar, registering.holders)
        self._importer = Importer(parts, registering.registrar)

    async def premises(self, person: Person) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = []
        sites = {site.site_id: site for site in await self._premises.sites(person)}
        left = dict(sites)
        for camera in await premises.all_cameras(self._parts.office):
            if camera.site_id not in sites:
                continue
            left.pop(camera.site_id, None)
            mine = (
                camera.camera_id,
                camera.name,
                camera.place,
                camera.point,
                camera.standard,
                camera.policy,
                camera.url,
            )
            rows.append((*_site_cells(sites[camera.site_id]), *mine, camera.state))
        return rows + [(*_site_cells(site), *[""] * 8) for site in left.values()]

    async def recorders(self, person: Person) -> list[Sequence[str]]:
        return [
            tuple(_cell(getattr(card, name)) for name in RECORDER_COLUMNS) for card in await self._ledger.cards(person)
        ]

    def asked(
        self, request: Request, what: str, *, status: int = 200, done: Imported | None = None, problem: str = ""
    ) -> Response:
        columns = [name for name in (PREMISES_COLUMNS if what == "premises" else RECORDER_COLUMNS) if name != "state"]
        return self._parts.shell.page(
            request, "sheet_import.html", status=status, what=what, columns=columns, done=done, problem=problem
        )

    async def take(self, request: Request, person: Person, what: str) -> Response:
        form = await request.form()
        file = form.get("file")
        content = await file.read(sheets.MAX_BYTES + 1) if isinstance(file, UploadFile) else b""
        enter = self._importer.premises if what == "premises" else self._importer.recorders
        try:
            done = await enter(person, content, good_only=bool(form.get("good_only")))
        except InvalidInput as error:
            return self.asked(request, what, status=422, problem=str(error))
        return self.asked(request, what, status=200 if done.entered else 422, done=done)


def _site_cells(site: Site) -> tuple[str, ...]:
    names = ("site_id", "unit_id", "name", "party_name", "credit_code", "address")
    contact = next(iter(site.contacts), None)
    told = (contact.name, contact.phone, contact.mail) if contact else ("", "", "")
    return (*(str(getattr(site, name)) for name in names), *told)


def _cell(value: object) -> str:
    return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)


def _file(media_type: str, name: str, content: bytes) -> Response:
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
