"""The audit: an auditor reads who did what and who was shown what. Nothing can be changed here, nor anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from dashboards import query
from dashboards.pages.shell import HEADERS
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.people.trail import KINDS, Asked, Trail, as_csv
from domain.clock import CHINA, Instant
from domain.errors import InvalidInput
from storage.ledger.entry import Entry
from storage.office import accounts, integrations

PAGE = 100
MAX_SHEET = 10_000

Text = Annotated[str, Query(max_length=200)]


def audit_router(parts: Parts) -> APIRouter:
    """Make the router of the audit."""
    router = parts.guard.router(in_schema=False)
    trail = Trail(parts.ledger)

    @router.get("/audit")
    @declare(Right.AUDIT_SEE)
    async def page(
        request: Request,
        person: SignedIn,
        *,
        by: Text = "",
        what: Text = "",
        recorder: Text = "",
        begin: Annotated[str, Query(alias="from", max_length=40)] = "",
        end: Annotated[str, Query(alias="to", max_length=40)] = "",
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        names = await _names(parts)
        asked = _asked(by, what, recorder, begin, end)
        lines, further = await trail.read(asked, _may(parts, person), before, PAGE)
        given = {"by": by, "what": what, "recorder": recorder, "from": begin, "to": end}
        return parts.shell.page(
            request,
            "audit.html",
            lines=lines,
            names=names,
            kinds=KINDS,
            given={name: value for name, value in given.items() if value},
            further=further,
        )

    @router.get("/audit.csv")
    @declare(Right.AUDIT_SEE)
    async def sheet(
        person: SignedIn,
        *,
        by: Text = "",
        what: Text = "",
        recorder: Text = "",
        begin: Annotated[str, Query(alias="from", max_length=40)] = "",
        end: Annotated[str, Query(alias="to", max_length=40)] = "",
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        asked = _asked(by, what, recorder, begin, end)
        await parts.audit.note(person, "audit.exported", by_whom=by, of_what=what, of_recorder=recorder)
        lines, _ = await trail.read(asked, _may(parts, person), before, MAX_SHEET)
        headers = HEADERS | {"Content-Disposition": 'attachment; filename="audit.csv"'}
        return Response(as_csv(lines), media_type="text/csv; charset=utf-8", headers=headers)

    return router


def _may(parts: Parts, person: Person) -> Callable[[Entry], bool]:
    def may(entry: Entry) -> bool:
        place = Place() if entry.recorder_id is None else parts.place(entry.recorder_id, entry.at)
        return person.may_at(Right.AUDIT_SEE, place)

    return may


async def _names(parts: Parts) -> dict[str, str]:
    """Return who is meant by an id in the ledger."""
    people = {one.account_id: one.name for one in await accounts.everybody(parts.office)}
    return people | {one.integration_id: one.name for one in await integrations.everything(parts.office)}


def _asked(by: str, what: str, recorder: str, begin: str, end: str) -> Asked:
    return Asked(
        by=by.strip(),
        what=what.strip(),
        recorder_id=query.recorder(recorder.strip() or None) or "",
        from_at=_moment("from", begin),
        to_at=_moment("to", end),
    )


def _moment(name: str, text: str) -> Instant | None:
    """Read a time with an offset, or one as a browser's field gives it, which is China's."""
    if not text:
        return None
    try:
        return Instant.parse(text.replace(" ", "+"))
    except ValueError:
        pass
    try:
        return Instant.parse(f"{text}{CHINA.tzname(None)}")
    except ValueError as error:
        raise InvalidInput(f"{name}: not a time", name) from error
