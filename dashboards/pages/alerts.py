"""The inbox of alerts, and one alert: what a supervisor needs to judge and act in a minute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Query, Request, Response

from dashboards.alerts import shown
from dashboards.alerts.desk import Desk, desk_of
from dashboards.alerts.view import AlertDetail, AlertView
from dashboards.holding.desk import HoldDesk
from dashboards.pages.forms import go
from dashboards.pages.holds import moment
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.names import who_of
from dashboards.people.rights import Person, Place, Right
from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office import accounts
from storage.office.alerts import Filter

MOST = 500
"""Alerts that are not resolved, at once; more means that somebody has to look at the cause of them all."""
PAGE = 50
NO_NUL = r"^[^\x00]*$"
"""What PostgreSQL could not keep is refused before anything is done."""
OPEN = ("opened", "acknowledged")
NOTES = frozenset(
    {"acknowledged", "noted", "assigned", "resolved", "reopened", "held", "party_told", "party_confirmed"}
)

Note = Annotated[str, Form(max_length=2_000, pattern=NO_NUL)]
Short = Annotated[str, Form(max_length=200, pattern=NO_NUL)]
Names = Annotated[list[str], Form(max_length=50)]
Some = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
AlertId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Before = Annotated[str, Query(pattern=r"^(\d{1,15}:[0-9a-f]{32})?$")]
State = Annotated[Literal["", "opened", "acknowledged", "resolved"], Query()]
Work = Callable[[], Awaitable[object]]


def alert_pages_router(parts: Parts) -> APIRouter:
    """Make the router of the pages."""
    router = parts.guard.router(in_schema=False)
    desk = desk_of(parts)
    drawing = _Drawing(parts, desk)
    _add_pages(router, drawing)
    _add_handling(router, desk, drawing)
    _add_hold(router, desk, drawing)
    _add_party(router, desk, drawing)
    return router


def _add_pages(router: APIRouter, drawing: _Drawing) -> None:
    async def listing(
        *,
        request: Request,
        person: SignedIn,
        mine: bool = False,
        state: State = "",
        unit: Some = "",
        site: Some = "",
        family: Some = "",
        before: Before = "",
    ) -> Response:
        wanted = Filter(
            states=(state,) if state else OPEN,
            unit_id=unit,
            site_id=site,
            family=family,
            assignee=person.account_id if mine else "",
        )
        return await drawing.inbox(request, person, wanted, before)

    router.get("/alerts")(declare(Right.ALERT_SEE)(listing))
    router.get("/parts/alerts")(declare(Right.ALERT_SEE)(listing))

    async def one(*, request: Request, person: SignedIn, alert_id: AlertId, said: str = "") -> Response:
        return await drawing.one(request, person, alert_id, note=said)

    router.get("/alerts/{alert_id}")(declare(Right.ALERT_SEE)(one))
    router.get("/parts/alerts/{alert_id}")(declare(Right.ALERT_SEE)(one))


def _add_handling(router: APIRouter, desk: Desk, drawing: _Drawing) -> None:
    @router.post("/alerts/{alert_id}/acknowledge")
    @declare(Right.ALERT_HANDLE)
    async def acknowledge(*, request: Request, person: SignedIn, alert_id: AlertId, note: Note = "") -> Response:
        return await drawing.change(
            request, person, alert_id, "acknowledged", lambda: desk.acknowledge(person, alert_id, note.strip())
        )

    @router.post("/alerts/{alert_id}/note")
    @declare(Right.ALERT_HANDLE)
    async def note(*, request: Request, person: SignedIn, alert_id: AlertId, note: Note = "") -> Response:
        async def work() -> None:
            if not note.strip():
                msg = "note: nothing is written"
                raise InvalidInput(msg, "note")
            await desk.note(person, alert_id, note.strip())

        return await drawing.change(request, person, alert_id, "noted", work)

    @router.post("/alerts/{alert_id}/assign")
    @declare(Right.ALERT_HANDLE)
    async def assign(*, request: Request, person: SignedIn, alert_id: AlertId, to: Short, note: Note = "") -> Response:
        return await drawing.change(
            request, person, alert_id, "assigned", lambda: desk.assign(person, alert_id, to.strip(), note.strip())
        )

    @router.post("/alerts/{alert_id}/resolve")
    @declare(Right.ALERT_HANDLE)
    async def resolve(*, request: Request, person: SignedIn, alert_id: AlertId, note: Note = "") -> Response:
        return await drawing.change(
            request, person, alert_id, "resolved", lambda: desk.resolve(person, alert_id, note.strip())
        )

    @router.post("/alerts/{alert_id}/reopen")
    @declare(Right.ALERT_HANDLE)
    async def reopen(*, request: Request, person: SignedIn, alert_id: AlertId, note: Note = "") -> Response:
        return await drawing.change(
            request, person, alert_id, "reopened", lambda: desk.reopen(person, alert_id, note.strip())
        )


def _add_hold(router: APIRouter, desk: Desk, drawing: _Drawing) -> None:
    @router.post("/alerts/{alert_id}/hold")
    @declare(Right.HOLD_SET)
    async def hold(
        *,
        request: Request,
        person: SignedIn,
        alert_id: AlertId,
        finding: Annotated[str, Form(max_length=64)],
        from_at: Short = "",
        to_at: Short = "",
        reason: Note = "",
    ) -> Response:
        async def work() -> None:
            detail = await desk.get(person, alert_id)
            meant = next((one for one in detail.findings if one.id == finding), None)
            if meant is None:
                msg = "finding: none of this alert"
                raise InvalidInput(msg, "finding")
            await drawing.holds.set(
                person,
                recorder_id=meant.recorder_id,
                session_id=meant.session_id,
                from_at=moment(from_at, "from_at"),
                to_at=moment(to_at, "to_at"),
                reason=reason,
            )

        return await drawing.change(request, person, alert_id, "held", work)


def _add_party(router: APIRouter, desk: Desk, drawing: _Drawing) -> None:
    @router.post("/alerts/{alert_id}/party")
    @declare(Right.ALERT_HANDLE)
    async def tell(
        *,
        request: Request,
        person: SignedIn,
        alert_id: AlertId,
        contact: Names = [],  # noqa: B006 - FastAPI copies it
        by_hand: Names = [],  # noqa: B006
        note: Note = "",
    ) -> Response:
        async def work() -> None:
            if not contact and not by_hand:
                msg = "contacts: nobody is named"
                raise InvalidInput(msg, "contacts")
            await desk.tell_party(person, alert_id, contact, note.strip(), by_hand=by_hand)

        return await drawing.change(request, person, alert_id, "party_told", work)

    @router.post("/alerts/{alert_id}/party/confirmed")
    @declare(Right.ALERT_HANDLE)
    async def confirmed(
        *, request: Request, person: SignedIn, alert_id: AlertId, who: Short = "", how: Short = "", note: Note = ""
    ) -> Response:
        return await drawing.change(
            request,
            person,
            alert_id,
            "party_confirmed",
            lambda: desk.party_confirmed(person, alert_id, who.strip(), how.strip(), note.strip()),
        )


class _Drawing:
    """Draws the inbox and one alert."""

    def __init__(self, parts: Parts, desk: Desk) -> None:
        self._parts, self._desk = parts, desk
        self.holds = HoldDesk(parts)

    async def inbox(self, request: Request, person: Person, wanted: Filter, before: str) -> Response:
        """Draw the list; a part of the page alone where that is asked for."""
        w, fleet = self._parts.shell.words(request), self._parts.fleet
        is_open = "resolved" not in wanted.states
        found, after = await self._desk.page(person, wanted, _place(before), MOST if is_open else PAGE)
        alerts = shown.inbox(found) if is_open else found
        template = "alerts_list.html" if request.url.path.startswith("/parts/") else "alerts.html"
        return self._parts.shell.page(
            request,
            template,
            rows=[shown.row(one, fleet, w) for one in alerts],
            after="" if after is None else f"{after[0]}:{after[1]}",
            query=request.url.query,
            chosen={name: request.query_params.get(name, "") for name in _FILTERS},
            units=sorted({one.unit_id for one in fleet.recorders.values() if one.unit_id}),
            sites=sorted({one.site_id for one in fleet.recorders.values() if one.site_id}),
            may_handle=person.may(Right.ALERT_HANDLE),
            who=await who_of(self._parts.office),
        )

    async def one(
        self, request: Request, person: Person, alert_id: str, *, note: str = "", error: InvalidInput | None = None
    ) -> Response:
        """Draw one alert; with why something was refused, where it was."""
        detail = await self._desk.get(person, alert_id)
        template = "alert_part.html" if request.url.path.startswith("/parts/") else "alert.html"
        return self._parts.shell.page(
            request,
            template,
            status=200 if error is None else 422,
            note=note if note in NOTES else "",
            error=error,
            **self._context(request, person, detail),
            contacts=await self._desk.contacts(person, alert_id),
            who=await who_of(self._parts.office),
            people=[one for one in await accounts.everybody(self._parts.office) if one.state == "active"],
        )

    async def change(self, request: Request, person: Person, alert_id: str, said: str, work: Work) -> Response:
        """Do something and go back to the alert; what was refused is shown there."""
        try:
            await work()
        except InvalidInput as error:
            return await self.one(request, person, alert_id, error=error)
        return go(f"/alerts/{alert_id}?said={said}")

    def _context(self, request: Request, person: Person, detail: AlertDetail) -> dict[str, Any]:
        w, fleet, now = self._parts.shell.words(request), self._parts.fleet, self._parts.clock.now()
        alert, place = detail.alert, _where(detail.alert)
        ordered = sorted(detail.findings, key=lambda one: (one.status == "closed", one.began_at))[: shown.MAX_SHOWN]
        return {
            "detail": detail,
            "row": shown.row(alert, fleet, w),
            "findings": [shown.finding(one, fleet, now, self.holds.side_ms(one.recorder_id), w) for one in ordered],
            "rules": shown.rules(detail.findings, fleet, self._parts.settings.policy, w),
            "advice": shown.advice(alert, w),
            "may_handle": person.may_at(Right.ALERT_HANDLE, place),
            "may_assign": person.may_at(Right.ALERT_ASSIGN, place),
            "may_hold": person.may_at(Right.HOLD_SET, place),
            "name_of": lambda recorder_id: shown.name_of(fleet, recorder_id),
        }


_FILTERS = ("mine", "state", "unit", "site", "family")


def _where(alert: AlertView) -> Place:
    return Place(unit_id=alert.unit_id, site_id=alert.site_id)


def _place(before: str) -> tuple[int, str] | None:
    at, _, last = before.partition(":")
    return (Instant(int(at)), last) if at else None
