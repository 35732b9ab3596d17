"""Rows of a sheet made sites, cameras and recorders: all of them or, if that is wanted, the good ones; else none."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from dashboards.parts import Parts
from dashboards.people.rights import Person, Place, Right
from dashboards.registration import sheets
from dashboards.registration.addresses import Address, address_of
from dashboards.registration.desk import place_of
from dashboards.registration.registrar import Registrar
from dashboards.registration.sheets import Line
from domain.errors import InvalidInput
from domain.wire import convert
from storage.office import premises, recorders
from storage.office.dossier import Camera, Site, check_credit_code
from storage.office.recorders import Card

Why = Literal["missing", "wrong", "taken", "twice", "not_yours", "policy", "address", "differs"]
SITE_COLUMNS = ("site_id", "unit_id", "site_name", "party_name", "credit_code", "site_address")
CONTACT_COLUMNS = ("contact_name", "contact_phone", "contact_mail")
CAMERA_COLUMNS = ("camera_id", "camera_name", "place", "point", "standard", "policy", "url")
PREMISES_COLUMNS = (*SITE_COLUMNS, *CONTACT_COLUMNS, *CAMERA_COLUMNS, "state")
RECORDER_COLUMNS = (
    *("recorder_id", "kind", "name", "model", "serial", "unit_id", "site_id", "policy", "bought_on"),
    *("expects_audio", "note", "state"),
)
_NOT_TAKEN = "state"
"""Goes out, and is passed over where it comes in: a state is decided, not written."""
_TRUE = {"1", "true", "yes", "是"}


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a row.

    Attributes:
        row: As the spreadsheet counts it; 1 for the header.
        column: Which.
        why: What.
    """

    row: int
    column: str
    why: Why


class _Wrong(Exception):
    def __init__(self, column: str, why: Why) -> None:
        super().__init__(column, why)
        self.column, self.why = column, why


class Imported(msgspec.Struct, frozen=True):
    """What came of a sheet.

    Attributes:
        rows: Rows in it.
        entered: Rows that were entered.
        faults: Of the others.
    """

    rows: int
    entered: int
    faults: list[Fault]


class Importer:
    """See the module.

    Args:
        parts: What the console is made of.
        registrar: Knows which ids are taken, and tells the log.
    """

    def __init__(self, parts: Parts, registrar: Registrar) -> None:
        self._parts, self._registrar = parts, registrar

    async def premises(self, person: Person, content: bytes, *, good_only: bool) -> Imported:
        """Enter sites and cameras.

        Raises:
            InvalidInput: It is no sheet.
        """
        lines = await asyncio.to_thread(sheets.read, content)
        await self._registrar.settle()
        known = {site.site_id: site for site in await premises.all_sites(self._parts.office)}
        new: dict[str, Site] = {}
        found: list[tuple[Camera, Address | None] | None] = []
        faults = _unknown(lines, PREMISES_COLUMNS)
        taken: set[str] = set()
        for line in lines:
            try:
                site = self._site(person, line, known, new)
                camera = self._camera(person, line, site, taken)
            except _Wrong as wrong:
                faults.append(Fault(line.number, wrong.column, wrong.why))
                continue
            if site.site_id not in known:
                new[site.site_id] = site
            found.append(camera)
        done = Imported(len(lines), len(found), faults)
        if faults and (not good_only or not found or faults[0].row == 1):
            return msgspec.structs.replace(done, entered=0)
        cameras = [one for one in found if one is not None]
        ids = [camera.camera_id for camera, _ in cameras]
        await self._note(person, "premises.imported", content, sites=sorted(new), cameras=ids)
        office, by, at = self._parts.office, person.account_id, self._parts.clock.now()

        def write(connection: Connection) -> None:
            for site in new.values():
                premises.write_site(office, connection, site, by=by, at=at, is_new=True)
            for camera, address in cameras:
                premises.write_camera(office, connection, camera, address.whole if address else "", by=by, at=at)

        await office.write(write)
        await self._registrar.told()
        return done

    async def recorders(self, person: Person, content: bytes, *, good_only: bool) -> Imported:
        """Enter recorders.

        Raises:
            InvalidInput: It is no sheet.
        """
        lines = await asyncio.to_thread(sheets.read, content)
        await self._registrar.settle()
        faults, found, taken = _unknown(lines, RECORDER_COLUMNS), list[Card](), set[str]()
        for line in lines:
            try:
                found.append(self._card(person, line, taken))
            except _Wrong as wrong:
                faults.append(Fault(line.number, wrong.column, wrong.why))
        done = Imported(len(lines), len(found), faults)
        if faults and (not good_only or not found or faults[0].row == 1):
            return msgspec.structs.replace(done, entered=0)
        ids = [card.recorder_id for card in found]
        await self._note(person, "recorders.imported", content, recorders=ids)
        office, by, at = self._parts.office, person.account_id, self._parts.clock.now()

        def write(connection: Connection) -> None:
            for card in found:
                recorders.write_card(office, connection, card, by=by, at=at)

        await office.write(write)
        await self._registrar.told()
        return done

    def _site(self, person: Person, line: Line, known: dict[str, Site], new: dict[str, Site]) -> Site:
        cell = line.cells.get
        site_id = _needed(line, "site_id")
        if site_id in known:
            if not person.may_at(Right.PREMISES_EDIT, place_of(known[site_id])):
                raise _Wrong("site_id", "not_yours")
            return known[site_id]
        said: dict[str, Any] = {
            "site_id": site_id,
            "unit_id": cell("unit_id", ""),
            "name": cell("site_name", "") or (new[site_id].name if site_id in new else ""),
            "party_name": cell("party_name", ""),
            "credit_code": _credit_code(cell("credit_code", "")),
            "address": cell("site_address", ""),
        }
        contact = {name.removeprefix("contact_"): cell(name, "") for name in CONTACT_COLUMNS}
        said["contacts"] = [contact] if contact["name"] else []
        names = {"name": "site_name", "address": "site_address"}
        site: Site = _made(said, Site, names)
        if not site.name:
            raise _Wrong("site_name", "missing")
        if not person.may_at(Right.PREMISES_EDIT, place_of(site)):
            raise _Wrong("unit_id", "not_yours")
        before = new.get(site_id)
        if before is not None and any(cell(name) for name in SITE_COLUMNS[2:]) and before != site:
            raise _Wrong("site_name", "differs")
        return before or site

    def _camera(self, person: Person, line: Line, site: Site, taken: set[str]) -> tuple[Camera, Address | None] | None:
        cell = line.cells.get
        if not cell("camera_id"):
            if any(cell(name) for name in CAMERA_COLUMNS):
                raise _Wrong("camera_id", "missing")
            return None
        try:
            address = address_of(line.cells["url"]) if cell("url") else None
        except InvalidInput as error:
            raise _Wrong("url", "address") from error
        said = {
            "camera_id": line.cells["camera_id"],
            "site_id": site.site_id,
            "name": cell("camera_name", ""),
            "place": cell("place", ""),
            "point": {"定点": "fixed", "移动": "mobile"}.get(cell("point", ""), cell("point", "")) or "fixed",
            "standard": cell("standard", ""),
            "policy": self._policy(line),
            "url": address.shown if address else "",
            "prepared_by": [person.account_id],
        }
        camera: Camera = _made(said, Camera, {"name": "camera_name"})
        self._check_free(camera.camera_id, "camera_id", taken)
        return camera, address

    def _card(self, person: Person, line: Line, taken: set[str]) -> Card:
        _needed(line, "recorder_id")
        said: dict[str, Any] = {name: line.cells.get(name, "") for name in RECORDER_COLUMNS if name != _NOT_TAKEN}
        kinds = {"": "body_worn", "执法记录仪": "body_worn", "室内固定摄像机": "room_camera"}
        said["kind"] = kinds.get(said["kind"], said["kind"])
        said["policy"] = self._policy(line)
        said["expects_audio"] = not said["expects_audio"] or said["expects_audio"].lower() in _TRUE
        card: Card = _made(said, Card, {})
        if not person.may_at(Right.RECORDER_EDIT, Place(unit_id=card.unit_id, site_id=card.site_id)):
            raise _Wrong("unit_id", "not_yours")
        self._check_free(card.recorder_id, "recorder_id", taken)
        return card

    def _policy(self, line: Line) -> str:
        policy = line.cells.get("policy") or self._parts.settings.policy
        if self._parts.book.find(policy) is None:
            raise _Wrong("policy", "policy")
        return policy

    def _check_free(self, recorder_id: str, column: str, taken: set[str]) -> None:
        if recorder_id in taken:
            raise _Wrong(column, "twice")
        if self._registrar.knows(recorder_id):
            raise _Wrong(column, "taken")
        taken.add(recorder_id)

    async def _note(self, person: Person, what: str, content: bytes, **ids: Any) -> None:
        await self._parts.audit.note(person, what, sha256=hashlib.sha256(content).hexdigest(), **ids)


def _made(said: dict[str, Any], kind: type[Any], names: dict[str, str]) -> Any:
    try:
        return convert(said, kind)
    except InvalidInput as error:
        first = error.field.partition("[")[0]
        column = names.get(first, "contact_name" if first == "contacts" else first)
        raise _Wrong(column, "wrong") from error


def _needed(line: Line, column: str) -> str:
    value = line.cells.get(column, "")
    if not value:
        raise _Wrong(column, "missing")
    return value


def _credit_code(code: str) -> str:
    try:
        return check_credit_code(code)
    except InvalidInput as error:
        raise _Wrong("credit_code", "wrong") from error


def _unknown(lines: Sequence[Line], columns: Sequence[str]) -> list[Fault]:
    """Return a fault for every column that nobody knows: a slip of the pen must not lose what stands below it."""
    seen = dict.fromkeys(name for line in lines for name in line.cells)
    return [Fault(1, name[:100], "wrong") for name in seen if name not in columns]
