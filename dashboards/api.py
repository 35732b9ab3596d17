"""The console's JSON API: recorders, sessions, timelines, findings, and the stream of what changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from dashboards import query
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.problem import Missing
from dashboards.query import Cursor, Limit
from dashboards.stream import EVENTS
from dashboards.timeline import timeline, whose
from dashboards.view import view
from domain.errors import LiuhenError
from domain.wire import encode
from storage.catalog.rows import Page

PREFIX = "/api/v1"

Events = Annotated[str | None, Query(max_length=200)]


def api_router(parts: Parts) -> APIRouter:
    """Make the router of recorders, sessions, findings and the stream of changes."""
    fleet, catalog, hub, clock = parts.fleet, parts.catalog, parts.hub, parts.clock
    router = parts.guard.router(PREFIX)

    @router.get("/recorders")
    @declare(Right.FLEET_SEE)
    async def recorders(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
        query.only(request, {"cursor", "limit"})
        names = sorted(recorder.recorder_id for recorder in fleet.shown())
        start = 0 if cursor is None else bisect_right(names, str(query.decode_cursor(cursor, [str])[0]))
        part = list(islice(names, start, start + limit))
        more = start + limit < len(names)
        now = clock.now()
        items = [view(fleet.recorders[name], now) for name in part]
        return _json(Page(items, query.encode_cursor([part[-1]]) if more else None))

    @router.get("/recorders/{recorder_id}")
    @declare(Right.FLEET_SEE)
    async def recorder(request: Request, recorder_id: str) -> Response:
        query.only(request, ())
        found = fleet.recorders.get(recorder_id)
        if found is None:
            raise Missing(f"no recorder {recorder_id}")
        return _json(view(found, clock.now()))

    @router.get("/sessions")
    @declare(Right.FOOTAGE_SEARCH)
    async def sessions(
        request: Request, recorder: str | None = None, open: bool = False, cursor: Cursor = None, limit: Limit = 100
    ) -> Response:
        query.only(request, {"recorder", "open", "cursor", "limit"})
        name = query.recorder(recorder)
        return _json(await catalog.list_sessions(recorder_id=name, open_only=open, cursor=cursor, limit=limit))

    @router.get("/sessions/{session_id}/timeline")
    @declare(Right.FOOTAGE_SEARCH)
    async def session_timeline(
        request: Request, session_id: str, recorder: str | None = None, cursor: Cursor = None, limit: Limit = 500
    ) -> Response:
        query.only(request, {"recorder", "cursor", "limit"})
        query.session(session_id)
        name = query.recorder(recorder) or await whose(catalog, fleet, session_id)
        return _json(await timeline(catalog, fleet, name, session_id, cursor=cursor, limit=limit))

    @router.get("/findings")
    @declare(Right.ALERT_SEE)
    async def findings(
        request: Request,
        *,
        open: bool = False,
        kind: str | None = None,
        recorder: str | None = None,
        session: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        query.only(request, {"open", "kind", "recorder", "session", "cursor", "limit"})
        page = await catalog.list_findings(
            open_only=open,
            kind=query.kind(kind),
            recorder_id=query.recorder(recorder),
            session_id=query.session(session),
            cursor=cursor,
            limit=limit,
        )
        return _json(page)

    @router.get("/stream")
    @declare(Right.FLEET_SEE)
    async def stream(
        request: Request,
        person: SignedIn,
        events: Events = None,
        look: Literal["", "row", "tile"] = "",
        since: Annotated[str, Query(max_length=40)] = "",
    ) -> Response:
        query.only(request, {"events", "look", "since", "lang"})
        hub.check_room()
        wanted = EVENTS if events is None else frozenset(events.split(","))
        # A browser that comes back says what it had.
        since = request.headers.get("last-event-id", since)[:40]
        how = f"{parts.shell.words(request).code}/{look}" if look else ""
        told = hub.watch(person, wanted, look=how, since=since, still=_still(parts, request, person))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    return router


def _still(parts: Parts, request: Request, person: Person) -> Callable[[], Awaitable[bool]]:
    """Ask again and again whether who watches is still who they were, and still may."""

    async def ask() -> bool:
        try:
            await parts.guard.admit(request, Right.FLEET_SEE)
        except LiuhenError:
            return False
        now: Person = request.state.person
        return now.account_id == person.account_id and now.duties == person.duties

    return ask


def _json(body: msgspec.Struct) -> Response:
    return Response(encode(body), media_type="application/json", headers={"Cache-Control": "no-store"})
