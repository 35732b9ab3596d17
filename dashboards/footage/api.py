"""Requests for footage as JSON: the same desk, the same rights."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response

from dashboards import query
from dashboards.footage.desk import Form, RequestDesk
from dashboards.footage.register import Register
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from dashboards.query import Limit
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert, to_builtins
from policies.access import Want
from policies.model import Applicant
from storage.office import requests
from storage.office.requests import Kept

T = TypeVar("T")


class Asked(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, forbid_unknown_fields=True):
    """Body of a new request; papers are handed in on the page."""

    recorder_id: str
    session_id: str
    from_: Instant
    to: Instant
    who: Applicant
    want: Want
    reason: str
    matter: str
    use: str = ""
    applicant: str = ""
    organisation: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a decision."""

    step: str
    agrees: bool
    reason: str = ""
    acting_as: str = ""
    days: int = 0


def requests_api(parts: Parts, desk: RequestDesk, register: Register) -> APIRouter:
    """Make the router."""
    router = parts.guard.router("/api/v1")

    @router.get("/requests")
    @declare(Right.FOOTAGE_REQUEST)
    async def listing(request: Request, person: SignedIn, limit: Limit = 100) -> Response:
        query.only(request, {"limit"})
        newest = await requests.newest(parts.office, limit=query.MAX_LIMIT)
        seen = [one for one in newest if desk.sees(person, one)][:limit]
        return _json({"items": [_told(parts, one) for one in seen]})

    @router.post("/requests", status_code=201)
    @declare(Right.FOOTAGE_REQUEST)
    async def ask(request: Request, person: SignedIn) -> Response:
        body = _read(await request.body(), Asked)
        values = msgspec.structs.asdict(body)
        form = Form(from_at=values.pop("from_"), to_at=values.pop("to"), **values)
        kept = await desk.ask(person, form, [])
        headers = {"Location": f"/api/v1/requests/{kept.id}"}
        return _json(_told(parts, kept), status=201, headers=headers)

    @router.get("/requests/register")
    @declare(Right.FOOTAGE_REGISTER)
    async def lines(request: Request, person: SignedIn) -> Response:
        query.only(request, {"from", "to"})
        start, end = (query.moment(name, request.query_params.get(name)) for name in ("from", "to"))
        await register.update()
        made, seen = register.between(start, end)
        in_keeping = [one for one in made if desk.sees(person, Kept(request=one.request))]
        shown = [one for one in seen if person.may_at(Right.FOOTAGE_REGISTER, parts.place(one.recorder_id))]
        return _json({"requests": to_builtins(in_keeping), "viewings": to_builtins(shown)})

    @router.get("/requests/{one}")
    @declare(Right.FOOTAGE_REQUEST)
    async def get(request: Request, person: SignedIn, one: str) -> Response:
        query.only(request, ())
        return _json(_told(parts, await desk.get(person, one)))

    @router.post("/requests/{one}/decision")
    @declare(Right.FOOTAGE_REQUEST)
    async def decide(request: Request, person: SignedIn, one: str) -> Response:
        said = _read(await request.body(), Decided)
        return _json(_told(parts, await desk.decide(person, one, **msgspec.structs.asdict(said))))

    return router


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return convert(msgspec.json.decode(body), kind)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"body: {error}", "body") from error


def _told(parts: Parts, kept: Kept) -> dict[str, Any]:
    told: dict[str, Any] = to_builtins(kept.request)
    return told | {"shown": kept.request.shown(parts.clock.now()), "next_step": kept.request.next_step}


def _json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = msgspec.json.encode(body)
    all_headers = {"Cache-Control": "no-store"} | (headers or {})
    return Response(content, status_code=status, media_type="application/json", headers=all_headers)
