"""The page of the register of requests and viewings; to be read, printed, and taken away as a sheet."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from dashboards.footage.register import Register, Registered, Viewing
from dashboards.pages.shell import HEADERS
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.sheets import XLSX, Table, Value, workbook
from dashboards.words import Words
from domain.clock import CHINA, Clock, Instant
from domain.errors import InvalidInput

LONGEST_DAYS = 366
FIRST, LAST = date(1970, 1, 2), date(8999, 12, 1)


class Days(NamedTuple):
    """A time in whole days, China's.

    Attributes:
        first: First day.
        last: Last day.
    """

    first: date
    last: date

    @property
    def start(self) -> Instant:
        """Beginning of the first day."""
        return Instant.of(datetime.combine(self.first, time(), CHINA))

    @property
    def end(self) -> Instant:
        """End of the last day."""
        return Instant.of(datetime.combine(self.last + timedelta(days=1), time(), CHINA))

    @classmethod
    def of(cls, request: Request, clock: Clock) -> Days:
        """Read `from` and `to`; this month so far where they are not there.

        Raises:
            InvalidInput: One is no date, or they are more than a year apart; names it.
        """
        today = clock.now().datetime().date()
        first = _day(request, "from") or today.replace(day=1)
        last = _day(request, "to") or max(today, first)
        if not timedelta(0) <= last - first <= timedelta(days=LONGEST_DAYS):
            raise InvalidInput(f"to: from {first} on, at most {LONGEST_DAYS} days", "to")
        return cls(first, last)


def register_router(parts: Parts, register: Register) -> APIRouter:
    """Make the router of the register's page."""
    router = parts.guard.router(in_schema=False)

    async def found(request: Request, person: Person) -> tuple[Days, list[Registered], list[Viewing]]:
        days = Days.of(request, parts.clock)
        await register.update()
        made, seen = register.between(days.start, days.end)
        return days, [one for one in made if _in_keeping(person, one)], [one for one in seen if _at(parts, person, one)]

    @router.get("/requests/register")
    @declare(Right.FOOTAGE_REGISTER)
    async def page(request: Request, person: SignedIn) -> Response:
        days, made, seen = await found(request, person)
        now = parts.clock.now()
        return parts.shell.page(
            request,
            "request_register.html",
            days=days,
            made=[(one, one.request.application, one.request.shown(now)) for one in made],
            viewings=seen,
        )

    @router.get("/requests/register.xlsx")
    @declare(Right.FOOTAGE_REGISTER)
    async def sheet(request: Request, person: SignedIn) -> Response:
        days, made, seen = await found(request, person)
        w = parts.shell.words(request)
        content = workbook([_requests(w, made, parts.clock.now()), _viewings(w, seen)])
        name = f"register-{days.first}-{days.last}.xlsx"
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=XLSX, headers=headers)

    return router


def _in_keeping(person: Person, one: Registered) -> bool:
    asked = one.request.application
    return person.may_at(Right.FOOTAGE_REGISTER, Place(unit_id=asked.unit_id, site_id=asked.site_id))


def _at(parts: Parts, person: Person, one: Viewing) -> bool:
    return person.may_at(Right.FOOTAGE_REGISTER, parts.place(one.recorder_id, one.first_at))


def _day(request: Request, name: str) -> date | None:
    text = request.query_params.get(name)
    try:
        day = date.fromisoformat(text) if text else None
        if day is None or FIRST <= day < LAST:
            return day
        raise ValueError("too early or too late")
    except ValueError as error:
        raise InvalidInput(f"{name}: no date; write 2026-03-05", name) from error


REQUEST_COLUMNS = (
    "number",
    "asked_at",
    "asked_by",
    "who",
    "applicant",
    "organisation",
    "reason",
    "matter",
    "use",
    "recorder",
    "session",
    "from",
    "to",
    "want",
    "papers",
    "decisions",
    "state",
    "delivered",
    "clauses",
    "entry",
)
VIEWING_COLUMNS = ("viewer", "recorder", "session", "first_seen", "last_seen", "objects", "under", "entry")


def _requests(w: Words, made: list[Registered], now: Instant) -> Table:
    rows: list[list[Value]] = []
    for one in made:
        asked, request = one.request.application, one.request
        rows.append(
            [
                one.number,
                w.moment(asked.asked_at),
                asked.asked_name,
                w("applicant", asked.who),
                asked.applicant,
                asked.organisation,
                asked.reason,
                asked.matter,
                asked.use,
                asked.recorder_id,
                asked.session_id,
                w.moment(asked.from_at),
                w.moment(asked.to_at),
                w("want", asked.want),
                "、".join(paper.label for paper in asked.papers),
                "；".join(
                    f"{w('request_step', said.step)} {said.name} {said.acting_as} "
                    f"{w('requests', 'yes' if said.agrees else 'no')} {w.moment(said.at)} {said.reason}"
                    for said in request.decisions
                ),
                w("request_state", request.shown(now)),
                "" if request.delivered_at is None else w.moment(request.delivered_at),
                "、".join(asked.clauses),
                one.entry,
            ]
        )
    return Table(w("requests", "register"), [w("requests", f"column_{name}") for name in REQUEST_COLUMNS], rows)


def _viewings(w: Words, seen: list[Viewing]) -> Table:
    rows: list[list[Value]] = [
        [
            one.by,
            one.recorder_id,
            one.session_id,
            w.moment(one.first_at),
            w.moment(one.last_at),
            one.objects,
            one.request or w("requests", "by_office"),
            one.entry,
        ]
        for one in seen
    ]
    return Table(w("requests", "viewings"), [w("requests", f"column_{name}") for name in VIEWING_COLUMNS], rows)
