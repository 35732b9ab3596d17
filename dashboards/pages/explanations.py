"""The pages of explanations: what is owed, and one stop with its form, its review and its history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from dashboards.explaining import view
from dashboards.explaining.case import Case, Draft
from dashboards.explaining.desk import ExplanationDesk
from dashboards.explaining.stops import Interruption
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.names import who_of
from dashboards.people.rights import Person, Right
from dashboards.query import Cursor
from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office import explanations as kept
from storage.office.explanations import Explained

PAGE = 50
ONE = "/explanations/{recorder_id}/{session_id}/{stopped_ms}"
NOTES = frozenset({"saved", "sent_note", "sent_review", "approved_note", "returned_done"})
"""What a page may say was just done."""

Method = Annotated[str, Form(max_length=32)]
Cause = Annotated[str, Form(max_length=200)]
Text = Annotated[str, Form(max_length=10_000)]
DraftId = Annotated[str, Form(pattern=r"^([0-9a-f]{32})?$")]


def explanations_router(parts: Parts) -> APIRouter:
    """Make the router of the pages."""
    router = parts.guard.router(in_schema=False)
    desk = ExplanationDesk(parts)
    drawing = _Drawing(parts, desk)
    _add_lists(router, parts, drawing)
    _add_stop(router, desk, drawing)
    _add_review(router, desk, drawing)
    return router


def _add_lists(router: APIRouter, parts: Parts, drawing: _Drawing) -> None:
    @router.get("/explanations")
    @declare(Right.FOOTAGE_SEARCH)
    async def listing(request: Request, person: SignedIn) -> Response:
        return parts.shell.page(request, "explanations.html", **await drawing.owed(request, person))

    @router.get("/parts/explanations")
    @declare(Right.FOOTAGE_SEARCH)
    async def listing_part(request: Request, person: SignedIn) -> Response:
        return parts.shell.page(request, "explanations_owed.html", **await drawing.owed(request, person))

    @router.get("/explanations/past")
    @declare(Right.FOOTAGE_SEARCH)
    async def past(request: Request, person: SignedIn, cursor: Cursor = None) -> Response:
        return parts.shell.page(request, "explanations_past.html", **await drawing.past(request, person, cursor))


def _add_stop(router: APIRouter, desk: ExplanationDesk, drawing: _Drawing) -> None:
    @router.get(ONE)
    @declare(Right.FOOTAGE_SEARCH)
    async def one(
        *, request: Request, person: SignedIn, recorder_id: str, session_id: str, stopped_ms: int, said: str = ""
    ) -> Response:
        case = await desk.case(person, recorder_id, session_id, _at(stopped_ms))
        return await drawing.case(request, person, case, note=said if said in NOTES else "")

    @router.post(ONE)
    @declare(Right.EXPLAIN)
    async def explain(
        *,
        request: Request,
        person: SignedIn,
        recorder_id: str,
        session_id: str,
        stopped_ms: int,
        do: Annotated[str, Form(pattern="^(save|send|discard)$")],
        method: Method = "",
        cause: Cause = "",
        text: Text = "",
        draft_id: DraftId = "",
    ) -> Response:
        case = await desk.case(person, recorder_id, session_id, _at(stopped_ms))
        draft = Draft(method=method, cause=cause, text=text, id=draft_id)

        async def work() -> str:
            if do == "save":
                await desk.draft(person, case, draft)
                return "saved"
            if do == "discard":
                await desk.discard(person, draft_id)
                return ""
            sent = await desk.send(person, case, draft)
            return "sent_review" if sent.state == "awaiting" else "sent_note"

        return await drawing.change(request, person, case, draft, work)

    @router.post(ONE + "/tell")
    @declare(Right.FOOTAGE_SEARCH)
    async def tell(*, person: SignedIn, recorder_id: str, session_id: str, stopped_ms: int) -> Response:
        case = await desk.case(person, recorder_id, session_id, _at(stopped_ms))
        for written in case.written:
            await desk.tell(written)
        return RedirectResponse(view.path(case.stop), status_code=303)


def _add_review(router: APIRouter, desk: ExplanationDesk, drawing: _Drawing) -> None:
    @router.post(ONE + "/review")
    @declare(Right.EXPLANATION_REVIEW)
    async def review(
        *,
        request: Request,
        person: SignedIn,
        recorder_id: str,
        session_id: str,
        stopped_ms: int,
        explanation: Annotated[str, Form(pattern=r"^[0-9a-f]{32}$")],
        decision: Annotated[str, Form(pattern="^(approve|return)$")],
        remark: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        case = await desk.case(person, recorder_id, session_id, _at(stopped_ms))
        approved = decision == "approve"

        async def work() -> str:
            await desk.review(person, case, explanation, approved=approved, remark=remark)
            return "approved_note" if approved else "returned_done"

        return await drawing.change(request, person, case, None, work)


class _Drawing:
    """Puts stops into words for the templates."""

    def __init__(self, parts: Parts, desk: ExplanationDesk) -> None:
        self._parts, self._desk = parts, desk

    async def owed(self, request: Request, person: Person) -> dict[str, Any]:
        stops = await self._desk.owed(person)
        written = await kept.in_state(self._parts.office, "sent", "approved", "awaiting", newest_first=True)
        by_stop: dict[tuple[str, str], list[Explained]] = {}
        for one in written:
            by_stop.setdefault((one.recorder_id, one.session_id), []).append(one)
        rows = [self._row(request, one, by_stop.get((one.recorder_id, one.session_id), [])) for one in stops]
        return {"rows": rows}

    async def past(self, request: Request, person: Person, cursor: str | None) -> dict[str, Any]:
        stops, following = await self._desk.past(person, cursor, PAGE)
        return {"rows": [self._row(request, one, []) for one in stops], "cursor": following}

    async def case(
        self,
        request: Request,
        person: Person,
        case: Case,
        *,
        note: str = "",
        draft: Draft | None = None,
        error: InvalidInput | None = None,
    ) -> Response:
        """Draw one stop; with what was written and why it was refused, where it was."""
        w, desk, stop = self._parts.shell.words(request), self._desk, case.stop
        begun = draft or _begun(case, person)
        told = [one for one in case.written if one.state != "draft"]
        return self._parts.shell.page(
            request,
            "explanation.html",
            status=200 if error is None else 422,
            case=case,
            row=self._row(request, stop, case.written),
            rules=view.rules(case, w),
            left=view.left(stop.due_at, self._parts.clock.now(), w),
            play=view.play_path(stop.recorder_id, stop.session_id, stop.stopped_at),
            ways=view.ways(case.policy, w),
            causes=view.causes(case.policy, w),
            open_list=case.policy.stops.open.value or not case.policy.stops.regulated.value,
            cause_text=lambda cause: view.cause_text(case.policy, cause, w),
            history=told,
            who=await who_of(self._parts.office),
            draft=begun,
            may_explain=desk.may_explain(person, case.place),
            may_review={one.id for one in told if desk.may_review(person, case.place, one)},
            untold=[one for one in told if one.untold],
            returned=next((one for one in reversed(told) if one.by == person.account_id), None),
            note=note,
            error="" if error is None else _said(error, w),
            wrong="" if error is None else error.field,
        )

    async def change(
        self, request: Request, person: Person, case: Case, draft: Draft | None, work: Callable[[], Awaitable[str]]
    ) -> Response:
        """Do something and go back to the page; what was refused is shown in its place, with what was written."""
        try:
            said = await work()
        except InvalidInput as error:
            return await self.case(request, person, case, draft=draft, error=error)
        return RedirectResponse(f"{view.path(case.stop)}{'?said=' + said if said else ''}", status_code=303)

    def _row(self, request: Request, stop: Interruption, written: list[Explained]) -> view.Row:
        recorder = self._parts.fleet.recorders.get(stop.recorder_id)
        name = "" if recorder is None else recorder.name
        return view.row(stop, name, written, self._parts.clock.now(), self._parts.shell.words(request))


def _at(stopped_ms: int) -> Instant:
    if not 0 <= stopped_ms < 253_370_764_800_000:  # the year 9999
        msg = "stopped_ms: no time"
        raise InvalidInput(msg, "stopped_ms")
    return Instant(stopped_ms)


def _begun(case: Case, person: Person) -> Draft:
    """Return what somebody began to write, or what came back to them, to go on with."""
    mine = [one for one in case.written if one.by == person.account_id]
    draft = next((one for one in reversed(mine) if one.state == "draft"), None)
    if draft is not None:
        return Draft(method=draft.method, cause=draft.cause, text=draft.text, id=draft.id)
    last = mine[-1] if mine else None
    if last is not None and last.state == "returned":
        return Draft(method=last.method, cause=last.cause, text=last.text)
    asked = case.stop.asked if case.stop.asked in ("written", "work_record") else ""
    return Draft(method=asked, cause="")


def _said(error: InvalidInput, w: Any) -> str:
    reason = str(error).rpartition(": ")[2]
    key = f"error_{reason}"
    said = w("explanations", key)
    return w("explanations", "error_other", detail=str(error)) if said == key else str(said)
