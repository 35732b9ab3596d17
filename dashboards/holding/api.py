"""Holds as JSON: the same desk, the same rights, two people for a release. Times are RFC 3339."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response
from msgspec import Meta

from dashboards import query
from dashboards.alerts.api import body
from dashboards.holding.desk import HoldDesk, Standing
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from dashboards.query import Cursor, Limit
from domain.clock import Instant
from domain.ids import RecorderId
from domain.wire import encode
from storage.catalog.rows import Page
from storage.office.releases import Request as Release

HoldId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Reason = Annotated[str, Meta(max_length=2000)]


class Holding(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_at": "from", "to_at": "to"},
):
    """Body of a hold; without a session, the footage of every session in the span."""

    recorder_id: RecorderId
    reason: Reason
    session_id: Annotated[str, Meta(max_length=200)] = ""
    from_at: Instant | None = None
    to_at: Instant | None = None
    case: Annotated[str, Meta(max_length=200)] = ""


class Held(msgspec.Struct, frozen=True):
    """Ids of the holds that were set."""

    holds: list[str]


class Reasoned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a step of a release."""

    reason: Reason = ""


def holds_api(parts: Parts) -> APIRouter:
    """Make the router of holds."""
    router = parts.guard.router("/api/v1")
    desk = HoldDesk(parts)

    @router.get("/holds", responses=answers(Page[Standing], "The holds that stand, those set last first."))
    @declare(Right.HOLD_SET)
    async def listing(request: Request, person: SignedIn, cursor: Cursor = None, limit: Limit = 100) -> Response:
        query.only(request, {"cursor", "limit"})
        items, following = await desk.page(person, None, cursor, limit)
        return _json(Page(items, following))

    @router.post("/holds", responses=answers(Held))
    @declare(Right.HOLD_SET)
    async def hold(request: Request, person: SignedIn) -> Response:
        said = await body(request, Holding)
        ids = await desk.set(
            person,
            recorder_id=said.recorder_id,
            session_id=said.session_id,
            from_at=said.from_at,
            to_at=said.to_at,
            reason=said.reason,
            case=said.case,
        )
        return _json(Held(ids))

    @router.post("/holds/{hold_id}/release", responses=answers(Release, "Asked; the hold stands."))
    @declare(Right.HOLD_RELEASE)
    async def ask(request: Request, person: SignedIn, hold_id: HoldId) -> Response:
        return _json(await desk.ask(person, hold_id, (await body(request, Reasoned)).reason))

    @router.post("/holds/{hold_id}/confirm", responses=answers(Release, "Confirmed by another person: it is lifted."))
    @declare(Right.HOLD_RELEASE)
    async def confirm(request: Request, person: SignedIn, hold_id: HoldId) -> Response:
        return _json(await desk.confirm(person, hold_id, (await body(request, Reasoned)).reason))

    @router.post("/holds/{hold_id}/refuse", responses=answers(Release, "Refused, or withdrawn: the hold stands."))
    @declare(Right.HOLD_RELEASE)
    async def refuse(request: Request, person: SignedIn, hold_id: HoldId) -> Response:
        return _json(await desk.refuse(person, hold_id, (await body(request, Reasoned)).reason))

    return router


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"})
