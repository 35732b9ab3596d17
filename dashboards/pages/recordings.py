"""A recorder's day and a session, on a timeline that plays; the list of sessions; holds set from there."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from dashboards import query
from dashboards.days.day import Day, Span, deadline, gather
from dashboards.days.scope import narrowed
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from dashboards.query import Cursor
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Hold
from domain.ids import check_recorder_id, check_session_id
from domain.wire import decode_event, encode
from storage.catalog.rows import SessionRow
from storage.retention.desk import Desk
from storage.retention.retention import Retention

DAY_MS = 86_400_000
MAX_SPAN_MS = 2 * DAY_MS
"""Longest span on one timeline; a longer session is shown by days."""
MIN_YEAR, MAX_YEAR = 2000, 2100
LISTED = 50
MAX_LOOKED = 2_000
"""Sessions that are looked through for those that somebody may see, before a page of them is shown as it is."""

_CHINA = timezone(timedelta(hours=8))
_MARGIN_MS = 60_000

Text = Annotated[str, Form(max_length=2000)]
Short = Annotated[str, Form(max_length=100)]


class Listed(msgspec.Struct, frozen=True):
    """A session in the list."""

    row: SessionRow
    name: str
    store_by: Instant | None


def recordings_router(parts: Parts) -> APIRouter:
    """Make the router."""
    router = parts.guard.router(in_schema=False)
    _add_day(router, parts)
    _add_sessions(router, parts)
    _add_hold(router, parts)
    return router


def _add_day(router: APIRouter, parts: Parts) -> None:
    @router.get("/recorders/{recorder_id}/day")
    @declare(Right.FLEET_SEE)
    async def day(request: Request, person: SignedIn, recorder_id: str, date: str = "", at: str = "") -> Response:
        start = _midnight(date, parts.clock.now() if not at else query.moment("at", at))
        span = Span(check_recorder_id(recorder_id), start, start.plus(DAY_MS))
        return await _drawn(parts, request, person, span, Right.FLEET_SEE)

    @router.get("/api/v1/recorders/{recorder_id}/day")
    @declare(Right.FLEET_SEE)
    async def told(request: Request, person: SignedIn, recorder_id: str) -> Response:
        query.only(request, {"from", "to", "session", "lang"})
        start, end = (query.moment(name, request.query_params.get(name)) for name in ("from", "to"))
        if not start < end <= start.plus(MAX_SPAN_MS):
            raise InvalidInput(f"to: must be after from, by at most {MAX_SPAN_MS // 3_600_000} h", "to")
        span = Span(check_recorder_id(recorder_id), start, end, query.session(request.query_params.get("session")))
        found = await _visible(parts, request, person, span, Right.FLEET_SEE)
        return Response(encode(found), media_type="application/json", headers={"Cache-Control": "no-store"})


def _add_sessions(router: APIRouter, parts: Parts) -> None:
    @router.get("/sessions")
    @declare(Right.FOOTAGE_SEARCH)
    async def listing(
        request: Request,
        person: SignedIn,
        *,
        recorder: Annotated[str, Query(max_length=200)] = "",
        open: bool = False,
        cursor: Cursor = None,
    ) -> Response:
        name = query.recorder(recorder or None)
        rows, after = await _page(parts, person, name, open, cursor)
        more = urlencode({"recorder": recorder, "open": "true" if open else "false", "cursor": after}) if after else ""
        context: dict[str, Any] = {
            "listed": rows,
            "recorder": recorder,
            "only_open": open,
            "more": more,
            "known": _known(parts, person),
        }
        return parts.shell.page(request, "sessions.html", **context)

    @router.get("/sessions/{recorder_id}/{session_id}")
    @declare(Right.FOOTAGE_SEARCH)
    async def session(request: Request, person: SignedIn, recorder_id: str, session_id: str) -> Response:
        row = await _session(parts, recorder_id, session_id)
        parts.guard.check(
            person, Right.FOOTAGE_SEARCH, parts.place(recorder_id, row.opened_at), f"session {session_id}"
        )
        start = row.opened_at.plus(-_MARGIN_MS)
        end = min((row.completed_at or parts.clock.now()).plus(_MARGIN_MS), start.plus(MAX_SPAN_MS))
        span = Span(recorder_id, start, max(end, start.plus(2 * _MARGIN_MS)), session_id)
        return await _drawn(parts, request, person, span, Right.FOOTAGE_SEARCH, row=row)


def _add_hold(router: APIRouter, parts: Parts) -> None:
    @router.post("/sessions/{recorder_id}/{session_id}/hold")
    @declare(Right.HOLD_SET)
    async def hold(
        person: SignedIn,
        recorder_id: str,
        session_id: str,
        *,
        reason: Text,
        from_at: Annotated[str, Form(max_length=40)] = "",
        to_at: Annotated[str, Form(max_length=40)] = "",
        case: Short = "",
    ) -> Response:
        row = await _session(parts, recorder_id, session_id)
        parts.guard.check(person, Right.HOLD_SET, parts.place(recorder_id, row.opened_at), f"session {session_id}")
        if not reason.strip():
            raise InvalidInput("reason: say why", "reason")
        event = Hold(
            at=parts.clock.now(),
            recorder_id=recorder_id,
            session_id=session_id,
            from_=_local("from_at", from_at),
            to=_local("to_at", to_at),
            reason=reason.strip(),
            by=person.account_id,
            released=False,
            origin="case" if case.strip() else "person",
            ref=case.strip() or None,
        )
        decode_event(encode(event))  # refuses what the log would
        span = {"from": _say(event.from_), "to": _say(event.to)}
        await parts.audit.note(
            person,
            "hold.set",
            recorder_id=recorder_id,
            session_id=session_id,
            reason=event.reason,
            ref=event.ref,
            **span,
        )
        await _desk(parts).hold(event)
        there = f"/sessions/{quote(recorder_id)}/{quote(session_id)}?held=1"
        return RedirectResponse(there, status_code=303, headers={"Cache-Control": "no-store"})


async def _drawn(
    parts: Parts, request: Request, person: Person, span: Span, right: Right, *, row: SessionRow | None = None
) -> Response:
    day = await _visible(parts, request, person, span, right)
    recorder = parts.fleet.recorders.get(span.recorder_id)
    place = parts.place(span.recorder_id, span.start)
    until = None if row is None else deadline(parts, row, recorder)
    return parts.shell.page(
        request,
        "recording.html",
        day=day,
        row=row,
        until=until,
        span=span,
        date=span.start.plus(_MARGIN_MS).datetime().astimezone(_CHINA).date(),
        one_day=timedelta(days=1),
        today=parts.clock.now().datetime().astimezone(_CHINA).date(),
        may_view=person.may_at(Right.FOOTAGE_VIEW, place),
        may_ask=person.may(Right.FOOTAGE_REQUEST),
        may_hold=row is not None and person.may_at(Right.HOLD_SET, parts.place(span.recorder_id, row.opened_at)),
        may_search=person.may(Right.FOOTAGE_SEARCH),
        held=request.query_params.get("held") == "1",
        at=None if not (at := request.query_params.get("at")) else query.moment("at", at),
    )


async def _visible(parts: Parts, request: Request, person: Person, span: Span, right: Right) -> Day:
    """Return a day as far as somebody may see it.

    Raises:
        Missing: None of it is theirs to see, or nothing was ever heard of such a recorder.
    """
    where = parts.place(span.recorder_id, span.start)
    day = await gather(parts, span, parts.shell.words(request))
    if span.recorder_id in parts.fleet.recorders or day.sessions or day.stretches:
        if person.may_at(right, Place(unit_id=where.unit_id, site_id=where.site_id)):
            return day
        own = {one.session_id for one in day.sessions if _theirs(parts, person, right, span.recorder_id, one.opened_at)}
        if own or person.may_at(right, parts.place(span.recorder_id)):
            return narrowed(day, frozenset(own))
    raise Missing(f"no recorder {span.recorder_id}")


def _theirs(parts: Parts, person: Person, right: Right, recorder_id: str, at: Instant) -> bool:
    return person.may_at(right, parts.place(recorder_id, at))


async def _page(
    parts: Parts, person: Person, recorder_id: str | None, only_open: bool, cursor: str | None
) -> tuple[list[Listed], str | None]:
    """Return a page of the sessions that somebody may see, and where the next one begins."""
    found: list[Listed] = []
    looked = 0
    while len(found) < LISTED and looked < MAX_LOOKED:
        page = await parts.catalog.list_sessions(
            recorder_id=recorder_id, open_only=only_open, cursor=cursor, limit=LISTED - len(found)
        )
        mine = (
            row for row in page.items if _theirs(parts, person, Right.FOOTAGE_SEARCH, row.recorder_id, row.opened_at)
        )
        found += [_listed(parts, row) for row in mine]
        looked, cursor = looked + len(page.items), page.cursor
        if cursor is None:
            break
    return found, cursor


def _listed(parts: Parts, row: SessionRow) -> Listed:
    recorder = parts.fleet.recorders.get(row.recorder_id)
    until = deadline(parts, row, recorder)
    name = (recorder.name if recorder else "") or row.recorder_id
    return Listed(row, name, None if until is None else until.store_by)


def _known(parts: Parts, person: Person) -> list[tuple[str, str]]:
    mine = (one for one in parts.fleet.shown() if person.may_at(Right.FOOTAGE_SEARCH, parts.place(one.recorder_id)))
    return sorted((one.recorder_id, one.name or one.recorder_id) for one in mine)


async def _session(parts: Parts, recorder_id: str, session_id: str) -> SessionRow:
    row = await parts.catalog.get_session(check_recorder_id(recorder_id), check_session_id(session_id))
    if row is not None:
        return row
    recorder = parts.fleet.recorders.get(recorder_id)
    known = None if recorder is None else recorder.sessions.get(session_id)
    if known is None:
        raise Missing(f"no session {session_id} of {recorder_id}")
    ended = None if known.ended_at is None else Instant(known.ended_at)
    return SessionRow(
        recorder_id=recorder_id,
        session_id=session_id,
        opened_at=Instant(known.opened_at),
        act=known.act,
        completed_at=ended,
    )


def _desk(parts: Parts) -> Desk:
    def policy_of(recorder_id: str) -> str:
        recorder = parts.fleet.recorders.get(recorder_id)
        return (recorder.policy if recorder else "") or parts.settings.policy

    store, catalog, ledger = parts.store, parts.catalog, parts.ledger
    return Desk(Retention(store, catalog, ledger, clock=parts.clock, policy_of=policy_of, book=parts.book))


def _midnight(date: str, now: Instant) -> Instant:
    """Return the start of a day in China, of today where none is named.

    Raises:
        InvalidInput: It is no date.
    """
    text = date or now.datetime().astimezone(_CHINA).date().isoformat()
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=_CHINA)
    except ValueError as error:
        raise InvalidInput("date: not a day, as 2026-05-06", "date") from error
    if not MIN_YEAR <= day.year <= MAX_YEAR:
        raise InvalidInput(f"date: not between {MIN_YEAR} and {MAX_YEAR}", "date")
    return Instant.of(day)


def _local(field: str, text: str) -> Instant | None:
    """Read a field for date and time, which browsers give without an offset: China's is meant.

    Raises:
        InvalidInput: It is no time.
    """
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return Instant.of(moment if moment.tzinfo else moment.replace(tzinfo=_CHINA))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{field}: not a time", field) from error


def _say(at: Instant | None) -> Any:
    return None if at is None else at.rfc3339()
