"""Maintenance, routing and channels as JSON: the same arrangements, the same rights."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from msgspec import Meta

from dashboards import query
from dashboards.alerts.api import Name, Note, body
from dashboards.alerts.arrange import Arrangements
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Right
from domain.alerts import Maintenance, Route
from domain.clock import Instant
from domain.findings import Severity
from domain.wire import encode
from storage.office.channels import Channel

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Account = Annotated[str, Path(max_length=64, pattern="^[^\\x00]*$")]
Names = Annotated[list[Name], Meta(max_length=50)]


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Body of planned maintenance; `domain.alerts.Maintenance` says what the fields are."""

    from_: Instant
    to: Instant
    reason: Note
    recorder_id: Name = ""
    site_id: Name = ""
    unit_id: Name = ""
    kinds: Names = []


class Window(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Maintenance, as it is answered."""

    id: str
    from_: Instant
    to: Instant
    reason: str
    by: str
    recorder_id: str
    site_id: str
    unit_id: str
    kinds: list[str]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a rule of routing; `domain.alerts.Route` says what the fields are."""

    position: Annotated[int, Meta(ge=0, le=1_000_000)]
    name: Name
    levels: Annotated[list[Names], Meta(max_length=8)]
    site_id: Name = ""
    unit_id: Name = ""
    kinds: Names = []
    min_severity: Severity = "info"
    ack_within_s: dict[str, float] = {}


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a channel; `storage.office.channels.Channel` says what the fields are. The address is never answered."""

    kind: Name
    position: Annotated[int, Meta(ge=0, le=1000)] = 0
    label: Name = ""
    min_severity: Severity = "warning"
    quiet_from: Name = ""
    quiet_to: Name = ""
    address: Annotated[str, Meta(max_length=2000)] | None = None


class Windows(msgspec.Struct, frozen=True):
    """Maintenance that is not over."""

    items: list[Window]


class Rules(msgspec.Struct, frozen=True):
    """The rules, in order."""

    items: list[Route]


class Channels(msgspec.Struct, frozen=True):
    """An account's channels, in order."""

    items: list[Channel]


def arrangements_router(parts: Parts, arrangements: Arrangements) -> APIRouter:
    """Make the router of maintenance, routing and channels."""
    router = parts.guard.router("/api/v1")
    _maintenance(router, arrangements)
    _routes(router, arrangements)
    _channels(router, arrangements)
    return router


def _maintenance(router: APIRouter, arrangements: Arrangements) -> None:
    @router.get("/maintenance", responses=answers(Windows))
    @declare(Right.ALERT_SEE)
    async def windows(request: Request, person: SignedIn) -> Response:
        query.only(request, ())
        return _json(Windows([_window(each) for each in await arrangements.windows(person)]))

    @router.post("/maintenance", status_code=201, responses=answers(Window, status=201))
    @declare(Right.ALERT_ARRANGE)
    async def plan(request: Request, person: SignedIn) -> Response:
        said = await body(request, Planned)
        rest: dict[str, Any] = msgspec.structs.asdict(said)
        starts_at, ends_at = int(rest.pop("from_")), int(rest.pop("to"))
        wanted = Maintenance(id="", by="", starts_at=starts_at, ends_at=ends_at, **rest)
        return _json(_window(await arrangements.plan(person, wanted)), 201)

    @router.delete("/maintenance/{window_id}", responses=answers(Window))
    @declare(Right.ALERT_ARRANGE)
    async def cancel(person: SignedIn, window_id: Id) -> Response:
        return _json(_window(await arrangements.cancel(person, window_id)))


def _routes(router: APIRouter, arrangements: Arrangements) -> None:
    @router.get("/alert-routes", responses=answers(Rules))
    @declare(Right.ALERT_ARRANGE)
    async def rules(request: Request) -> Response:
        query.only(request, ())
        return _json(Rules(await arrangements.routes()))

    @router.post("/alert-routes", status_code=201, responses=answers(Route, status=201))
    @declare(Right.ALERT_ARRANGE)
    async def add(request: Request, person: SignedIn) -> Response:
        said = await body(request, Rule)
        return _json(await arrangements.put_route(person, Route(id="", **msgspec.structs.asdict(said))), 201)

    @router.put("/alert-routes/{route_id}", responses=answers(Route))
    @declare(Right.ALERT_ARRANGE)
    async def change(request: Request, person: SignedIn, route_id: Id) -> Response:
        said = await body(request, Rule)
        return _json(await arrangements.put_route(person, Route(id=route_id, **msgspec.structs.asdict(said))))

    @router.delete("/alert-routes/{route_id}", status_code=204)
    @declare(Right.ALERT_ARRANGE)
    async def remove(person: SignedIn, route_id: Id) -> Response:
        await arrangements.remove_route(person, route_id)
        return Response(status_code=204)


def _channels(router: APIRouter, arrangements: Arrangements) -> None:
    @router.get("/accounts/{account_id}/channels", responses=answers(Channels))
    @declare(Right.SIGNED_IN)
    async def channels(request: Request, person: SignedIn, account_id: Account) -> Response:
        query.only(request, ())
        return _json(Channels(await arrangements.channels(person, account_id)))

    @router.post("/accounts/{account_id}/channels", status_code=201, responses=answers(Channel, status=201))
    @declare(Right.SIGNED_IN)
    async def add(request: Request, person: SignedIn, account_id: Account) -> Response:
        said = await body(request, Way)
        return _json(await _put(arrangements, person, account_id, "", said), 201)

    @router.put("/accounts/{account_id}/channels/{channel_id}", responses=answers(Channel))
    @declare(Right.SIGNED_IN)
    async def change(request: Request, person: SignedIn, account_id: Account, channel_id: Id) -> Response:
        return _json(await _put(arrangements, person, account_id, channel_id, await body(request, Way)))

    @router.delete("/accounts/{account_id}/channels/{channel_id}", status_code=204)
    @declare(Right.SIGNED_IN)
    async def remove(person: SignedIn, account_id: Account, channel_id: Id) -> Response:
        await arrangements.remove_channel(person, account_id, channel_id)
        return Response(status_code=204)


async def _put(arrangements: Arrangements, person: SignedIn, account_id: str, channel_id: str, said: Way) -> Channel:
    fields: dict[str, Any] = msgspec.structs.asdict(said)
    address = fields.pop("address")
    return await arrangements.put_channel(person, Channel(id=channel_id, account_id=account_id, **fields), address)


def _window(planned: Maintenance) -> Window:
    fields: dict[str, Any] = msgspec.structs.asdict(planned)
    starts_at, ends_at = Instant(fields.pop("starts_at")), Instant(fields.pop("ends_at"))
    return Window(from_=starts_at, to=ends_at, **fields)


def _json(answer: msgspec.Struct, status: int = 200) -> Response:
    content = encode(answer)
    return Response(content, status, media_type="application/json", headers={"Cache-Control": "no-store"})
