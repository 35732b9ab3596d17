"""Alerts as JSON: the same desk, the same rights. Times are RFC 3339."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Path, Request, Response
from msgspec import Meta

from dashboards import query
from dashboards.alerts.desk import Desk
from dashboards.alerts.view import AlertView
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from dashboards.query import Cursor, Limit
from domain.alerts import FAMILIES, RANK
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert, encode
from storage.catalog.rows import Page
from storage.office.alerts import Filter

T = TypeVar("T")

STATES = ("opened", "acknowledged", "resolved")
FILTERS = frozenset({"state", "severity", "family", "site", "unit", "recorder", "assignee"})

AlertId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
NO_NUL = r"^[^\x00]*\Z"
"""PostgreSQL takes no such character in a text."""
Note = Annotated[str, Meta(max_length=2000, pattern=NO_NUL)]
Name = Annotated[str, Meta(max_length=200, pattern=NO_NUL)]


class Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of an act that may say something."""

    note: Note = ""


class Assigned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of assigning: the account."""

    to: Name
    note: Note = ""


class PartyTold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of telling the party: contacts of the site by name; `by_hand` were told by the person themselves."""

    contacts: Annotated[list[Name], Meta(max_length=10)] = []
    by_hand: Annotated[list[Name], Meta(max_length=10)] = []
    note: Note = ""


class PartyConfirmed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a confirmation by the party."""

    who: Name
    how: Name
    note: Note = ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an alert's history; `domain.alerts.Line` says what the fields are."""

    at: Instant
    by: str
    what: str
    note: str
    facts: dict[str, str | int | list[str]]


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of an alert; `domain.alerts.AlertFinding` says what the fields are."""

    id: str
    recorder_id: str
    session_id: str
    kind: str
    status: str
    severity: str
    began_at: Instant
    ended_at: Instant | None
    detected_at: Instant
    cause: str
    clauses: list[str]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message; `storage.office.outbox.Sent` says what the fields are."""

    id: str
    what: str
    account_id: str
    channel: str
    state: str
    created_at: Instant
    ended_at: Instant | None
    tries: int
    is_doubtful: bool
    error: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, what it rests on, what happened to it, and who was told."""

    alert: AlertView
    findings: list[Basis]
    history: list[Happened]
    messages: list[Told]


def alerts_api(parts: Parts, desk: Desk) -> APIRouter:
    """Make the router of alerts."""
    router = parts.guard.router("/api/v1")

    @router.get("/alerts", responses=answers(Page[AlertView]))
    @declare(Right.ALERT_SEE)
    async def listing(request: Request, person: SignedIn, cursor: Cursor = None, limit: Limit = 100) -> Response:
        query.only(request, FILTERS | {"cursor", "limit"})
        before = None if cursor is None else _place(cursor)
        items, after = await desk.page(person, _filter(request), before, limit)
        return _json(Page(items, query.encode_cursor([*after]) if after else None))

    @router.get("/alerts/{alert_id}", responses=answers(Detail))
    @declare(Right.ALERT_SEE)
    async def one(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        query.only(request, ())
        return _json(await _detail(desk, person, alert_id))

    @router.post("/alerts/{alert_id}/acknowledge", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def acknowledge(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        return _json(await desk.acknowledge(person, alert_id, (await body(request, Noted)).note))

    @router.post("/alerts/{alert_id}/assign", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def assign(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        said = await body(request, Assigned)
        return _json(await desk.assign(person, alert_id, said.to, said.note))

    @router.post("/alerts/{alert_id}/note", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def note(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        return _json(await desk.note(person, alert_id, (await body(request, Noted)).note))

    @router.post("/alerts/{alert_id}/resolve", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def resolve(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        return _json(await desk.resolve(person, alert_id, (await body(request, Noted)).note))

    @router.post("/alerts/{alert_id}/reopen", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def reopen(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        return _json(await desk.reopen(person, alert_id, (await body(request, Noted)).note))

    @router.post("/alerts/{alert_id}/party", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def party(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        said = await body(request, PartyTold)
        return _json(await desk.tell_party(person, alert_id, said.contacts, said.note, by_hand=said.by_hand))

    @router.post("/alerts/{alert_id}/party/confirmation", responses=answers(AlertView))
    @declare(Right.ALERT_HANDLE)
    async def confirmation(request: Request, person: SignedIn, alert_id: AlertId) -> Response:
        said = await body(request, PartyConfirmed)
        return _json(await desk.party_confirmed(person, alert_id, said.who, said.how, said.note))

    return router


async def body(request: Request, kind: type[T]) -> T:
    """Read a body; an empty one is an empty object.

    Raises:
        InvalidInput: It is not what is asked for; names the field.
    """
    try:
        said: Any = msgspec.json.decode(await request.body() or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"body: {error}", "body") from error
    return convert(said, kind)


def _filter(request: Request) -> Filter:
    asked = request.query_params
    for name, value in asked.items():
        if "\x00" in value:
            raise InvalidInput(f"{name}: not a text", name)
    states = [state for state in asked.get("state", "").split(",") if state]
    for name, value, known in (
        *(("state", state, STATES) for state in states),
        ("severity", asked.get("severity", ""), tuple(RANK)),
        ("family", asked.get("family", ""), ("", "system", *FAMILIES.values())),
    ):
        if value not in known:
            raise InvalidInput(f"{name}: {value!r} is none", name)
    return Filter(
        states=states,
        severity=asked.get("severity", ""),
        family=asked.get("family", ""),
        site_id=asked.get("site", "")[:200],
        unit_id=asked.get("unit", "")[:200],
        recorder_id=query.recorder(asked.get("recorder")) or "",
        assignee=asked.get("assignee", "")[:200],
    )


def _place(cursor: str) -> tuple[int, str]:
    at, last = query.decode_cursor(cursor, [int, str])
    if not -(2**62) < int(at) < 2**62:
        raise InvalidInput("cursor: not one that was given out here", "cursor")
    return int(at), str(last)


async def _detail(desk: Desk, person: SignedIn, alert_id: str) -> Detail:
    found = await desk.get(person, alert_id)
    return Detail(
        alert=found.alert,
        findings=[
            Basis(
                id=each.id,
                recorder_id=each.recorder_id,
                session_id=each.session_id,
                kind=each.kind,
                status=each.status,
                severity=each.severity,
                began_at=Instant(each.began_at),
                ended_at=None if each.ended_at is None else Instant(each.ended_at),
                detected_at=Instant(each.detected_at),
                cause=each.cause,
                clauses=each.clauses,
            )
            for each in found.findings
        ],
        history=[
            Happened(at=Instant(line.at), by=line.by, what=line.what, note=line.note, facts=line.facts)
            for line in found.history
        ],
        messages=[
            Told(
                id=each.id,
                what=each.what,
                account_id=each.account_id,
                channel=each.channel,
                state=each.state,
                created_at=Instant(each.created_at),
                ended_at=None if each.ended_at is None else Instant(each.ended_at),
                tries=each.tries,
                is_doubtful=each.is_doubtful,
                error=each.error,
            )
            for each in found.messages
        ],
    )


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"})
