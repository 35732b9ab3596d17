"""The page of leads, and the API by which other systems push them."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Form, Request, Response

from dashboards import query
from dashboards.footage.asking import moment
from dashboards.pages.forms import go
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.supervision.desk import SupervisionDesk
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert, to_builtins
from storage.office import accounts, supervision
from storage.office.supervision import Lead


async def open_leads(parts: Parts, desk: SupervisionDesk, person: Person) -> list[Lead]:
    """Return the leads that are not handled and for somebody."""
    found = await supervision.list_leads(parts.office, states=["open", "assigned"])
    return [one for one in found if desk.sees_lead(person, one)]


async def _drawn(
    parts: Parts, desk: SupervisionDesk, request: Request, person: Person, error: InvalidInput | None = None
) -> Response:
    """Draw the leads."""
    handled = await supervision.list_leads(parts.office, states=["handled"], limit=200)
    premises = parts.book.policy(parts.settings.policy).premises
    return parts.shell.page(
        request,
        "supervision_leads.html",
        status=422 if error else 200,
        open=await open_leads(parts, desk, person),
        handled=[one for one in handled if desk.sees_lead(person, one)],
        rule=None if premises is None else premises.lead_due,
        may_assign=person.may(Right.SUPERVISION_SEE),
        people=await accounts.everybody(parts.office),
        at=parts.clock.now(),
        error=str(error) if error else "",
    )


def leads_router(parts: Parts) -> APIRouter:
    """Make the router of the page."""
    router = parts.guard.router(in_schema=False)
    desk = SupervisionDesk(parts)

    @router.get("/supervision/leads")
    @declare(Right.LEAD_HANDLE)
    async def page(request: Request, person: SignedIn) -> Response:
        return await _drawn(parts, desk, request, person)

    async def done(request: Request, person: Person, work: Any) -> Response:
        try:
            await work
        except InvalidInput as error:
            return await _drawn(parts, desk, request, person, error)
        return go("/supervision/leads")

    @router.post("/supervision/leads")
    @declare(Right.SUPERVISION_SEE)
    async def add(
        *,
        request: Request,
        person: SignedIn,
        title: Annotated[str, Form(max_length=400)] = "",
        body: Annotated[str, Form(alias="text", max_length=10_000)] = "",
        reference: Annotated[str, Form(max_length=400)] = "",
        unit: Annotated[str, Form(max_length=200)] = "",
        due: Annotated[str, Form(max_length=40)] = "",
    ) -> Response:
        try:
            due_at = moment("due", due) if due else None
            parts.guard.check(person, Right.LEAD_HANDLE, Place(unit_id=unit), "such unit")
        except InvalidInput as error:
            return await _drawn(parts, desk, request, person, error)
        lead = _new_lead(parts, person, title=title, text=body, reference=reference, unit_id=unit, due_at=due_at)
        return await done(request, person, desk.take_lead(person, lead))

    @router.post("/supervision/leads/{one}/assign")
    @declare(Right.SUPERVISION_SEE)
    async def assign(
        *,
        request: Request,
        person: SignedIn,
        one: str,
        assignee: Annotated[str, Form(max_length=200)] = "",
        due: Annotated[str, Form(max_length=40)] = "",
    ) -> Response:
        try:
            due_at = moment("due", due) if due else None
        except InvalidInput as error:
            return await _drawn(parts, desk, request, person, error)
        return await done(request, person, desk.assign(person, one, assignee, due_at))

    @router.post("/supervision/leads/{one}/handle")
    @declare(Right.LEAD_HANDLE)
    async def handle(
        *, request: Request, person: SignedIn, one: str, outcome: Annotated[str, Form(max_length=10_000)] = ""
    ) -> Response:
        return await done(request, person, desk.handle(person, one, outcome))

    return router


class Pushed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a lead that another system pushes."""

    reference: str
    title: str
    text: str = ""
    unit_id: str = ""
    recorder_id: str = ""
    due_at: Instant | None = None


def leads_api(parts: Parts) -> APIRouter:
    """Make the router by which other systems push leads (W-NS 第八条)."""
    router = parts.guard.router("/api/v1")
    desk = SupervisionDesk(parts)

    @router.post("/leads", status_code=201)
    @declare(Right.LEAD_HANDLE)
    async def push(request: Request, person: SignedIn) -> Response:
        try:
            body = convert(msgspec.json.decode(await request.body()), Pushed)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"body: {error}", "body") from error
        parts.guard.check(person, Right.LEAD_HANDLE, Place(unit_id=body.unit_id), "such unit")
        lead = _new_lead(parts, person, **msgspec.structs.asdict(body))
        kept = await desk.take_lead(person, lead)
        status = 201 if kept.id == lead.id else 200
        content = msgspec.json.encode(to_builtins(kept))
        return Response(
            content, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"}
        )

    @router.get("/leads")
    @declare(Right.LEAD_HANDLE)
    async def listing(request: Request, person: SignedIn) -> Response:
        query.only(request, ())
        found = [one for one in await supervision.list_leads(parts.office) if desk.sees_lead(person, one)]
        now = parts.clock.now()
        items = [to_builtins(one) | {"overdue": one.overdue(now)} for one in found]
        content = msgspec.json.encode({"items": items})
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})

    return router


def _new_lead(parts: Parts, person: Person, **values: Any) -> Lead:
    reference = str(values.pop("reference")).strip()
    source = "" if person.by == "session" else "integration:"
    return Lead(
        id=secrets.token_hex(8),
        source=f"{source}{person.account_id}",
        reference=reference or secrets.token_hex(4),
        received_at=parts.clock.now(),
        **values,
    )
