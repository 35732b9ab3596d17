"""Stops and their explanations as JSON: the same desk, the same rights. Times are RFC 3339."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from dashboards import query
from dashboards.alerts.api import body
from dashboards.explaining.case import Draft
from dashboards.explaining.desk import ExplanationDesk
from dashboards.explaining.stops import Interruption
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from dashboards.query import Cursor, Limit
from domain.clock import Instant
from domain.ids import RecorderId, SessionId
from domain.wire import encode
from storage.catalog.rows import Page
from storage.office.explanations import Explained


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop; `dashboards.explaining.stops.Interruption` says what the fields are."""

    recorder_id: str
    session_id: str
    stopped_at: Instant
    state: str
    asked: str
    due_at: Instant | None
    resumed_at: Instant | None
    reason: str
    severity: str
    findings: list[str]


class Explaining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of an explanation: of which stop, in which of the policy's ways, for which of its causes."""

    recorder_id: RecorderId
    session_id: SessionId
    stopped_at: Instant
    method: Literal["written", "work_record"]
    cause: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(max_length=10_000)] = ""


class Reviewing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a review: of which explanation of which stop; one that goes back needs a reason."""

    recorder_id: RecorderId
    session_id: SessionId
    stopped_at: Instant
    explanation: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    decision: Literal["approve", "return"]
    remark: Annotated[str, Meta(max_length=2000)] = ""


def explanations_api(parts: Parts) -> APIRouter:
    """Make the router of stops and explanations."""
    router = parts.guard.router("/api/v1")
    desk = ExplanationDesk(parts)

    @router.get("/explanations", responses=answers(Page[Stop], "What is owed, the longest overdue first."))
    @declare(Right.FOOTAGE_SEARCH)
    async def owed(request: Request, person: SignedIn) -> Response:
        query.only(request, ())
        return _json(Page([_stop(one) for one in await desk.owed(person)]))

    @router.get("/explanations/past", responses=answers(Page[Stop], "What is settled, the newest first."))
    @declare(Right.FOOTAGE_SEARCH)
    async def past(request: Request, person: SignedIn, cursor: Cursor = None, limit: Limit = 100) -> Response:
        query.only(request, {"cursor", "limit"})
        stops, following = await desk.past(person, cursor, limit)
        return _json(Page([_stop(one) for one in stops], following))

    @router.post("/explanations", responses=answers(Explained, "It was sent, and does not change."))
    @declare(Right.EXPLAIN)
    async def explain(request: Request, person: SignedIn) -> Response:
        said = await body(request, Explaining)
        case = await desk.case(person, said.recorder_id, said.session_id, said.stopped_at)
        return _json(await desk.send(person, case, Draft(method=said.method, cause=said.cause, text=said.text)))

    @router.post("/explanations/reviews", responses=answers(Explained, "It was approved, or sent back."))
    @declare(Right.EXPLANATION_REVIEW)
    async def review(request: Request, person: SignedIn) -> Response:
        said = await body(request, Reviewing)
        case = await desk.case(person, said.recorder_id, said.session_id, said.stopped_at)
        approved = said.decision == "approve"
        return _json(await desk.review(person, case, said.explanation, approved=approved, remark=said.remark))

    return router


def _stop(one: Interruption) -> Stop:
    return Stop(
        recorder_id=one.recorder_id,
        session_id=one.session_id,
        stopped_at=one.stopped_at,
        state=one.state,
        asked=one.asked,
        due_at=one.due_at,
        resumed_at=one.resumed_at,
        reason=one.reason,
        severity=one.severity,
        findings=[said.id for said in one.findings],
    )


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"})
