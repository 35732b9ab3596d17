"""The page of what people arrange about alerts: how they themselves are told, planned maintenance, and who is told.

Everybody sees and keeps their own channels; maintenance and rules are for those who may arrange, at their place. The
address of a channel is a secret: it is taken in, and never shown again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from dashboards.alerts.arrange import CHANNEL_KINDS, Arrangements
from dashboards.footage.asking import moment
from dashboards.pages.forms import go, text
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right, Role
from domain.alerts import FAMILIES, RANK, Maintenance, Route
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.findings import Severity
from storage.office.channels import Channel

PATH = "/arrangements"
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
LEVELS = 3
"""Levels that the form of a rule has; the API takes more."""
_MINUTE_S = 60.0
Work = Callable[[FormData], Awaitable[object]]


def arrangements_pages(parts: Parts, arrangements: Arrangements) -> APIRouter:
    """Make the router of the page."""
    router, page = parts.guard.router(in_schema=False), _Page(parts, arrangements)

    @router.get(PATH)
    @declare(Right.SIGNED_IN)
    async def shown(request: Request, person: SignedIn) -> Response:
        return await page.drawn(request, person)

    _add_channels(router, page, arrangements)
    _add_maintenance(router, page, arrangements)
    _add_routes(router, page, arrangements)
    return router


class _Page:
    def __init__(self, parts: Parts, arrangements: Arrangements) -> None:
        self._shell, self._arrangements = parts.shell, arrangements

    async def drawn(self, request: Request, person: Person, problem: str = "", field: str = "") -> Response:
        may_arrange, known = person.may(Right.ALERT_ARRANGE), self._arrangements
        return self._shell.page(
            request,
            "arrangements.html",
            status=422 if problem else 200,
            problem=problem,
            wrong=field,
            channels=await known.channels(person, person.account_id),
            kinds=CHANNEL_KINDS,
            severities=SEVERITIES,
            windows=[(one, Instant(one.starts_at), Instant(one.ends_at)) for one in await known.windows(person)],
            routes=await known.routes() if may_arrange else [],
            families=sorted(set(FAMILIES.values())),
            roles=[str(role) for role in Role],
            levels=range(1, LEVELS + 1),
            may_arrange=may_arrange,
        )

    async def done(self, request: Request, person: Person, work: Work) -> Response:
        """Do what a form asks for, and show the page; where it cannot be, say why beside the field."""
        try:
            await work(await request.form())
        except InvalidInput as error:
            return await self.drawn(request, person, str(error), error.field)
        return go(PATH)


def _add_channels(router: APIRouter, page: _Page, arrangements: Arrangements) -> None:
    @router.post(f"{PATH}/channels")
    @declare(Right.SIGNED_IN)
    async def add(request: Request, person: SignedIn) -> Response:
        async def work(form: FormData) -> None:
            present = await arrangements.channels(person, person.account_id)
            await arrangements.put_channel(person, _channel(form, person, len(present)), text(form, "address").strip())

        return await page.done(request, person, work)

    @router.post(f"{PATH}/channels/remove")
    @declare(Right.SIGNED_IN)
    async def remove(request: Request, person: SignedIn) -> Response:
        async def work(form: FormData) -> None:
            await arrangements.remove_channel(person, person.account_id, text(form, "channel", 64))

        return await page.done(request, person, work)


def _add_maintenance(router: APIRouter, page: _Page, arrangements: Arrangements) -> None:
    @router.post(f"{PATH}/maintenance")
    @declare(Right.ALERT_ARRANGE)
    async def plan(request: Request, person: SignedIn) -> Response:
        return await page.done(request, person, lambda form: arrangements.plan(person, _window(form)))

    @router.post(f"{PATH}/maintenance/end")
    @declare(Right.ALERT_ARRANGE)
    async def end(request: Request, person: SignedIn) -> Response:
        return await page.done(request, person, lambda form: arrangements.cancel(person, text(form, "window", 64)))


def _add_routes(router: APIRouter, page: _Page, arrangements: Arrangements) -> None:
    @router.post(f"{PATH}/routes")
    @declare(Right.ALERT_ARRANGE)
    async def add(request: Request, person: SignedIn) -> Response:
        async def work(form: FormData) -> None:
            await arrangements.put_route(person, _route(form, len(await arrangements.routes())))

        return await page.done(request, person, work)

    @router.post(f"{PATH}/routes/remove")
    @declare(Right.ALERT_ARRANGE)
    async def remove(request: Request, person: SignedIn) -> Response:
        return await page.done(request, person, lambda form: arrangements.remove_route(person, text(form, "route", 64)))


def _channel(form: FormData, person: Person, position: int) -> Channel:
    return Channel(
        id="",
        account_id=person.account_id,
        position=position,
        kind=text(form, "kind", 20),
        label=text(form, "label", 200).strip(),
        min_severity=_severity(form, "min_severity"),
        quiet_from=text(form, "quiet_from", 5),
        quiet_to=text(form, "quiet_to", 5),
    )


def _window(form: FormData) -> Maintenance:
    place = {name: text(form, name, 200).strip() for name in ("recorder_id", "site_id", "unit_id")}
    family = text(form, "family", 40)
    return Maintenance(
        id="",
        by="",
        starts_at=int(moment("from", text(form, "from", 40))),
        ends_at=int(moment("to", text(form, "to", 40))),
        reason=text(form, "reason").strip(),
        kinds=[family] if family else [],
        **place,
    )


def _route(form: FormData, position: int) -> Route:
    family = text(form, "family", 40)
    levels = [text(form, f"level{number}", 80).strip() for number in range(1, LEVELS + 1)]
    return Route(
        id="",
        position=position,
        name=text(form, "name", 200).strip(),
        site_id=text(form, "site_id", 200).strip(),
        unit_id=text(form, "unit_id", 200).strip(),
        kinds=[family] if family else [],
        min_severity=_severity(form, "min_severity"),
        levels=[[one] for one in levels if one],
        ack_within_s=_waits(form),
    )


def _severity(form: FormData, name: str) -> Severity:
    found = text(form, name, 20)
    for severity in SEVERITIES:
        if severity == found:
            return severity
    raise InvalidInput(f"{name}: one of {', '.join(SEVERITIES)}", name)


def _waits(form: FormData) -> dict[str, float]:
    """Read after how many minutes an alert goes to the next level; nothing where the field is left empty."""
    typed = text(form, "ack_minutes", 10).strip()
    if not typed:
        return {}
    try:
        within_s = float(typed) * _MINUTE_S
    except ValueError as error:
        raise InvalidInput("ack_minutes: a number of minutes", "ack_minutes") from error
    return {severity: within_s for severity in RANK if severity in ("warning", "critical")}
