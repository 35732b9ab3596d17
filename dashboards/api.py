"""The console's JSON API: recorders, sessions, timelines, findings, and the stream of what changes."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from itertools import islice
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from dashboards import query
from dashboards.openapi import answers, streams
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from dashboards.people.scope import filled, named, session_place
from dashboards.problem import Missing
from dashboards.query import Cursor, Limit
from dashboards.stream import EVENTS
from dashboards.timeline import Item, only_one, timeline, whose
from dashboards.view import RecorderView, view
from domain.findings import Finding
from domain.wire import encode
from storage.catalog.rows import Page, SessionRow

PREFIX = "/api/v1"

Events = Annotated[str | None, Query(max_length=200)]


def api_router(parts: Parts) -> APIRouter:
    """Make the router of recorders, sessions, findings and the stream of changes."""
    router = parts.guard.router(PREFIX)
    _add_recorders(router, parts)
    _add_sessions(router, parts)
    _add_findings(router, parts)
    _add_stream(router, parts)
    return router


def _add_recorders(router: APIRouter, parts: Parts) -> None:
    fleet, clock = parts.fleet, parts.clock

    @router.get("/recorders", responses=answers(Page[RecorderView]))
    @declare(Right.FLEET_SEE)
    async def recorders(request: Request, person: SignedIn, cursor: Cursor = None, limit: Limit = 100) -> Response:
        """Recorders by id, as they are now."""
        query.only(request, {"cursor", "limit"})
        shown = (recorder.recorder_id for recorder in fleet.shown())
        names = sorted(name for name in shown if person.may_at(Right.FLEET_SEE, parts.place(name)))
        start = 0 if cursor is None else bisect_right(names, str(query.decode_cursor(cursor, [str])[0]))
        part = list(islice(names, start, start + limit))
        more = start + limit < len(names)
        now = clock.now()
        items = [view(fleet.recorders[name], now) for name in part]
        return _json(Page(items, query.encode_cursor([part[-1]]) if more else None))

    @router.get("/recorders/{recorder_id}", responses=answers(RecorderView))
    @declare(Right.FLEET_SEE)
    async def recorder(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """One recorder, as it is now."""
        query.only(request, ())
        found = fleet.recorders.get(recorder_id)
        if found is None or not person.may_at(Right.FLEET_SEE, parts.place(recorder_id)):
            raise Missing(f"no recorder {recorder_id}")
        return _json(view(found, clock.now()))


def _add_sessions(router: APIRouter, parts: Parts) -> None:
    fleet, catalog = parts.fleet, parts.catalog

    @router.get("/sessions", responses=answers(Page[SessionRow]))
    @declare(Right.FOOTAGE_SEARCH)
    async def sessions(
        request: Request,
        person: SignedIn,
        *,
        recorder: str | None = None,
        open: bool = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        """Sessions, newest first."""
        query.only(request, {"recorder", "open", "cursor", "limit"})
        name, mine = query.recorder(recorder), named(parts, person, Right.FOOTAGE_SEARCH)

        async def ask(cursor: str | None, limit: int) -> Page[SessionRow]:
            return await catalog.list_sessions(
                recorder_id=name, recorder_ids=mine, open_only=open, cursor=cursor, limit=limit
            )

        def may(row: SessionRow) -> bool:
            return person.may_at(Right.FOOTAGE_SEARCH, parts.place(row.recorder_id, row.opened_at))

        return _json(await filled(ask, may, cursor, limit))

    @router.get("/sessions/{session_id}/timeline", responses=answers(Page[Item]))
    @declare(Right.FOOTAGE_SEARCH)
    async def session_timeline(
        request: Request,
        person: SignedIn,
        session_id: str,
        *,
        recorder: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 500,
    ) -> Response:
        """Segments, findings, stops and explanations of a session, in order."""
        query.only(request, {"recorder", "cursor", "limit"})
        query.session(session_id)
        asked = query.recorder(recorder)
        found = {asked} if asked else await whose(catalog, fleet, session_id)
        places = {each: await session_place(parts, each, session_id) for each in found}
        mine = {each for each, place in places.items() if person.may_at(Right.FOOTAGE_SEARCH, place)}
        name = only_one(mine, session_id)
        return _json(await timeline(catalog, fleet, name, session_id, cursor=cursor, limit=limit))


def _add_findings(router: APIRouter, parts: Parts) -> None:
    @router.get("/findings", responses=answers(Page[Finding]))
    @declare(Right.ALERT_SEE)
    async def findings(
        request: Request,
        person: SignedIn,
        *,
        open: bool = False,
        kind: str | None = None,
        recorder: str | None = None,
        session: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        """Findings in their wire form, those that began last first."""
        query.only(request, {"open", "kind", "recorder", "session", "cursor", "limit"})
        only = {"kind": query.kind(kind), "recorder_id": query.recorder(recorder), "session_id": query.session(session)}
        mine = named(parts, person, Right.ALERT_SEE)

        async def ask(cursor: str | None, limit: int) -> Page[Finding]:
            return await parts.catalog.list_findings(
                open_only=open, recorder_ids=mine, cursor=cursor, limit=limit, **only
            )

        def may(finding: Finding) -> bool:
            return person.may_at(Right.ALERT_SEE, parts.place(finding.recorder_id, finding.began_at))

        return _json(await filled(ask, may, cursor, limit))


def _add_stream(router: APIRouter, parts: Parts) -> None:
    hub = parts.hub

    @router.get("/stream", responses=streams("What changes, for as long as it is listened to."))
    @declare(Right.FLEET_SEE)
    async def stream(
        request: Request,
        person: SignedIn,
        events: Events = None,
        look: Literal["", "row", "tile"] = "",
        since: Annotated[str, Query(max_length=40)] = "",
    ) -> Response:
        """Server-sent events: what changes."""
        query.only(request, {"events", "look", "since", "lang"})
        hub.check_room()
        wanted = EVENTS if events is None else frozenset(events.split(","))
        # A browser that comes back says what it had.
        since = request.headers.get("last-event-id", since)[:40]
        how = f"{parts.shell.words(request).code}/{look}" if look else ""
        still = partial(parts.guard.still, request, Right.FLEET_SEE)
        told = hub.watch(person, wanted, look=how, since=since, still=still)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)


def _json(body: msgspec.Struct) -> Response:
    return Response(encode(body), media_type="application/json", headers={"Cache-Control": "no-store"})
