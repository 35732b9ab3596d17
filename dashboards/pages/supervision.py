"""The pages of supervision: figures, spot checks with their draw and forms, leads."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, get_args

import msgspec
from fastapi import APIRouter, Form, Request, Response
from starlette.datastructures import FormData, UploadFile

from dashboards import query
from dashboards.footage.asking import moment
from dashboards.pages.forms import go, text, texts
from dashboards.pages.request_register import Days
from dashboards.pages.shell import HEADERS
from dashboards.pages.supervision_leads import open_leads
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Place, Right
from dashboards.sheets import XLSX, workbook
from dashboards.supervision.desk import FACTS, SupervisionDesk, points_of
from dashboards.supervision.figures import BYS, DEFINITIONS, By, Figures, figures
from dashboards.supervision.reading import world_of
from dashboards.supervision.schedule import schedule
from dashboards.supervision.tables import causes_table, figures_table
from domain.errors import InvalidInput
from domain.wire import to_builtins
from policies.model import Policy
from storage.office import documents, supervision, units
from storage.office.request_steps import Paper
from storage.office.supervision import Answer, Draw, Result, Verdict

USUAL_COUNT = 10
MAX_PAPERS = 10


def supervision_router(parts: Parts) -> APIRouter:
    """Make the router of the pages and of their API."""
    router = parts.guard.router(in_schema=False)
    desk = SupervisionDesk(parts)
    drawing = _Drawing(parts, desk)
    _add_figures(router, drawing)
    _add_checks(router, parts, desk, drawing)
    return router


class _Drawing:
    def __init__(self, parts: Parts, desk: SupervisionDesk) -> None:
        self._parts, self._desk = parts, desk

    async def counted(self, request: Request, person: Person) -> tuple[Days, By, list[Figures]]:
        """Return the time, the grouping and the figures that were asked for."""
        days = Days.of(request, self._parts.clock)
        asked = request.query_params.get("by", "unit")
        if asked not in BYS:
            raise InvalidInput(f"by: one of {', '.join(BYS)}", "by")
        by = msgspec.convert(asked, By)

        def sees(recorder_id: str) -> bool:
            return person.may_at(Right.SUPERVISION_SEE, self._parts.place(recorder_id))

        world = await world_of(self._parts, days.start, days.end, sees)
        return days, by, figures(world, by, self._parts.clock.now())

    async def figures(self, request: Request, person: Person) -> Response:
        """Draw the figures."""
        days, by, groups = await self.counted(request, person)
        ratio = self._policy().device.per_officer
        return self._parts.shell.page(
            request,
            "supervision.html",
            days=days,
            by=by,
            bys=BYS,
            groups=groups,
            names=await units.names(self._parts.office),
            definitions=DEFINITIONS,
            ratio=ratio,
            due=[one for one in await self.due(person) if one.state == "overdue"],
            leads=await open_leads(self._parts, self._desk, person),
            now_ms=self._parts.clock.now(),
            may_handle=person.may(Right.LEAD_HANDLE),
        )

    async def sheet(self, request: Request, person: Person) -> Response:
        """Write the figures as a workbook."""
        days, by, groups = await self.counted(request, person)
        w = self._parts.shell.words(request)
        title = f"{w('supervision', 'title')} {days.first} — {days.last}"
        names = await units.names(self._parts.office)
        content = workbook([figures_table(w, title, by, groups, names), causes_table(w, groups, names)])
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="supervision-{days.first}-{days.last}.xlsx"'}
        return Response(content, media_type=XLSX, headers=headers)

    async def due(self, person: Person) -> list[Any]:
        """Return the checks of the policies in use, and whether they were made."""
        draws = await self.draws(person)
        results = await supervision.results_of(self._parts.office, [one.id for one in draws])
        return schedule(self.policies(person), draws, results, self._parts.clock.now())

    async def draws(self, person: Person) -> list[Draw]:
        """Return the draws in somebody's keeping."""
        return [one for one in await supervision.all_draws(self._parts.office) if self._desk.sees_draw(person, one)]

    def policies(self, person: Person) -> list[Policy]:
        """Return the policies of the recorders in somebody's keeping."""
        names = {
            known.policy
            for name, known in self._parts.fleet.recorders.items()
            if known.policy and person.may_at(Right.SUPERVISION_SEE, self._parts.place(name))
        } | {self._parts.settings.policy}
        return [found for name in sorted(names) if (found := self._parts.book.find(name)) is not None]

    def _policy(self) -> Policy:
        return self._parts.book.policy(self._parts.settings.policy)

    async def checks(self, request: Request, person: Person, error: InvalidInput | None = None) -> Response:
        """Draw the checks, and the form that draws a sample."""
        due = await self.due(person)
        known = {known.unit_id for known in self._parts.fleet.recorders.values() if known.unit_id}
        mine = [unit for unit in sorted(known) if person.may_at(Right.CHECK_DO, Place(unit_id=unit))]
        return self._parts.shell.page(
            request,
            "supervision_checks.html",
            status=422 if error else 200,
            due=due,
            draws=await self.draws(person),
            policies=self.policies(person),
            units=mine,
            names=await units.names(self._parts.office),
            span=next((one.span for one in due if one.state != "done"), None),
            count=USUAL_COUNT,
            may_draw=person.may(Right.CHECK_DO),
            error=str(error) if error else "",
        )

    async def one(
        self, request: Request, person: Person, made: Draw, *, item: str = "", error: InvalidInput | None = None
    ) -> Response:
        """Draw one draw, and the form of one item."""
        check = self._desk.check(made.policy, made.check_id)
        found = (await supervision.results_of(self._parts.office, [made.id]))[made.id]
        newest: dict[str, Result] = {one.item: one for one in found}
        drawn = {one.name: one for one in made.drawn}
        chosen = drawn.get(item)
        return self._parts.shell.page(
            request,
            "supervision_draw.html",
            status=422 if error else 200,
            made=made,
            check=check,
            points=points_of(check),
            newest=newest,
            item=item if item in drawn else "",
            may_fill=chosen is not None and person.may_at(Right.CHECK_DO, Place(unit_id=chosen.unit_id)),
            facts=FACTS,
            verdicts=get_args(Verdict),
            names=await units.names(self._parts.office),
            error=str(error) if error else "",
        )


def _add_figures(router: APIRouter, drawing: _Drawing) -> None:
    @router.get("/supervision")
    @declare(Right.SUPERVISION_SEE)
    async def page(request: Request, person: SignedIn) -> Response:
        return await drawing.figures(request, person)

    @router.get("/supervision.xlsx")
    @declare(Right.SUPERVISION_SEE)
    async def sheet(request: Request, person: SignedIn) -> Response:
        return await drawing.sheet(request, person)

    @router.get("/api/v1/supervision")
    @declare(Right.SUPERVISION_SEE)
    async def api(request: Request, person: SignedIn) -> Response:
        query.only(request, {"from", "to", "by"})
        days, by, groups = await drawing.counted(request, person)
        told = {"from": days.first.isoformat(), "to": days.last.isoformat(), "by": by, "whole": groups[0]}
        content = msgspec.json.encode(to_builtins(told | {"groups": groups[1:]}))
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def _add_checks(router: APIRouter, parts: Parts, desk: SupervisionDesk, drawing: _Drawing) -> None:
    @router.get("/supervision/checks")
    @declare(Right.SUPERVISION_SEE)
    async def page(request: Request, person: SignedIn) -> Response:
        return await drawing.checks(request, person)

    @router.post("/supervision/draws")
    @declare(Right.CHECK_DO)
    async def draw(
        *,
        request: Request,
        person: SignedIn,
        check: Annotated[str, Form(max_length=140)],
        first: Annotated[str, Form(max_length=10)],
        last: Annotated[str, Form(max_length=10)],
        unit: Annotated[str, Form(max_length=200)] = "",
        count: Annotated[str, Form(pattern=r"^\d{1,3}$")] = str(USUAL_COUNT),
    ) -> Response:
        policy, _, check_id = check.partition("/")
        try:
            start = moment("first", first)
            end = moment("last", last).plus(timedelta(days=1) // timedelta(milliseconds=1))
            made = await desk.draw(
                person, policy=policy, check_id=check_id, unit_id=unit, start=start, end=end, count=int(count)
            )
        except InvalidInput as error:
            return await drawing.checks(request, person, error)
        return go(f"/supervision/draws/{made.id}")

    @router.get("/supervision/draws/{one}")
    @declare(Right.SUPERVISION_SEE)
    async def drawn(request: Request, person: SignedIn, one: str, item: str = "") -> Response:
        return await drawing.one(request, person, await desk.get_draw(person, one), item=item)

    @router.get("/supervision/draws/{one}/population.txt")
    @declare(Right.SUPERVISION_SEE)
    async def population(person: SignedIn, one: str) -> Response:
        made = await desk.get_draw(person, one)
        lines = "".join(item.line() for item in made.population)
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="population-{one}.txt"'}
        return Response(lines, media_type="text/plain; charset=utf-8", headers=headers)

    @router.post("/supervision/draws/{one}/results")
    @declare(Right.CHECK_DO)
    async def fill_in(request: Request, person: SignedIn, one: str) -> Response:
        made = await desk.get_draw(person, one)
        form = await request.form(max_files=MAX_PAPERS, max_fields=100)
        item = text(form, "item", 300)
        try:
            answers = _answers(form, points_of(desk.check(made.policy, made.check_id)))
            await desk.fill_in(person, made, item, answers, await _papers(parts, person, form))
        except InvalidInput as error:
            return await drawing.one(request, person, made, item=item, error=error)
        return go(f"/supervision/draws/{one}")


def _answers(form: FormData, points: tuple[str, ...]) -> list[Answer]:
    verdicts = {str(number): text(form, f"verdict{number}") for number in range(len(points))}
    notes = texts(form, "note", supervision.MAX_TEXT + 1)
    answers = []
    for number, point in enumerate(points):
        verdict = verdicts[str(number)]
        if verdict not in get_args(Verdict):
            raise InvalidInput(f"verdict{number}: {point}: choose one", "answers")
        note = notes[number] if number < len(notes) else ""
        answers.append(Answer(point=point, verdict=msgspec.convert(verdict, Verdict), note=note.strip()))
    return answers


async def _papers(parts: Parts, person: Person, form: FormData) -> list[Paper]:
    kept: list[Paper] = []
    for value in form.getlist("papers"):
        if isinstance(value, UploadFile) and value.filename:
            content = await value.read(documents.MAX_BYTES + 1)
            name, now = value.filename, parts.clock.now()
            made = await documents.add(parts.office, content, name=name, by=person.account_id, at=now, field="papers")
            kept.append(Paper(label="", sha256=made.sha256, name=made.name))
    return kept
