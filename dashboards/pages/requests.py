"""The pages of requests for footage: what is mine, what waits for me, one request, and asking anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import FormData, UploadFile
from starlette.types import Receive, Scope, Send

from dashboards.footage.asking import Asking, form_of, ways_of
from dashboards.footage.desk import RequestDesk
from dashboards.footage.packing import Packer
from dashboards.pages.forms import go, text
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.problem import Missing
from domain.errors import InvalidInput
from storage.office import documents, requests
from storage.office.request_steps import Paper
from storage.office.requests import Kept

ID = r"^[0-9a-f]{16}$"
MAX_PAPERS = 12
LISTED = 300
WAITING = ("waiting", "packing")


def requests_router(parts: Parts, desk: RequestDesk, packer: Packer) -> APIRouter:
    """Make the router of the pages.

    Args:
        parts: Of this console.
        desk: Does what people do with requests.
        packer: Makes copies.
    """
    router = parts.guard.router(in_schema=False)
    drawing = _Drawing(parts, desk, packer)
    _add_lists(router, parts, drawing)
    _add_asking(router, parts, desk, drawing)
    _add_one(router, desk, drawing)
    _add_decisions(router, desk, drawing)
    _add_files(router, parts, desk, packer)
    return router


class _Drawing:
    def __init__(self, parts: Parts, desk: RequestDesk, packer: Packer) -> None:
        self._parts, self._desk, self._packer = parts, desk, packer

    async def listing(self, request: Request, person: Person) -> Response:
        """Draw what is mine, what waits for me, and all that I may see."""
        newest = await requests.newest(self._parts.office, limit=2 * LISTED)
        seen = [one for one in newest if self._desk.sees(person, one)]
        mine = await requests.newest(self._parts.office, asked_by=person.account_id, limit=LISTED)
        return self._parts.shell.page(
            request,
            "requests.html",
            mine=[self._row(one) for one in mine],
            waiting=[self._row(one) for one in reversed(seen) if self._desk.may_decide(person, one)],
            others=[self._row(one) for one in seen if one.request.application.asked_by != person.account_id][:LISTED],
            may_register=person.may(Right.FOOTAGE_REGISTER),
        )

    def asking(self, request: Request, asked: Asking, *, error: InvalidInput | None = None) -> Response:
        """Draw the form, with what was filled in before."""
        policy = self._desk.policy(asked.recorder)
        ways = ways_of(policy)
        papers = list(dict.fromkeys(paper for one in ways if one.way is not None for paper in one.way.papers))
        return self._parts.shell.page(
            request,
            "request_new.html",
            status=422 if error else 200,
            asked=asked,
            policy=policy,
            ways=ways,
            papers=papers,
            uses=policy.uses.value if policy.uses else (),
            error=str(error) if error else "",
            wrong=error.field if error else "",
        )

    def one(
        self,
        request: Request,
        person: Person,
        kept: Kept,
        template: str = "request.html",
        error: InvalidInput | None = None,
    ) -> Response:
        """Draw one request."""
        asked = kept.request.application
        recorder = self._parts.fleet.recorders.get(asked.recorder_id)
        return self._parts.shell.page(
            request,
            template,
            status=422 if error else 200,
            row=self._row(kept),
            kept=kept,
            asked=asked,
            name=(recorder.name if recorder is not None else None) or asked.recorder_id,
            title="" if kept.request.next_step is None else asked.title(kept.request.next_step),
            may_decide=self._desk.may_decide(person, kept),
            may_revoke=self._desk.may_revoke(person, kept),
            is_mine=asked.asked_by == person.account_id,
            days=self._desk.days,
            progress=self._packer.progress(kept.id),
            is_waiting=kept.packing in WAITING,
            error=str(error) if error else "",
            wrong=error.field if error else "",
        )

    def _row(self, kept: Kept) -> dict[str, Any]:
        asked = kept.request.application
        return {"kept": kept, "asked": asked, "shown": kept.request.shown(self._parts.clock.now())}


def _add_lists(router: APIRouter, parts: Parts, drawing: _Drawing) -> None:
    @router.get("/requests")
    @declare(Right.FOOTAGE_REQUEST)
    async def listing(request: Request, person: SignedIn) -> Response:
        return await drawing.listing(request, person)


def _add_asking(router: APIRouter, parts: Parts, desk: RequestDesk, drawing: _Drawing) -> None:
    @router.get("/requests/new")
    @declare(Right.FOOTAGE_REQUEST)
    async def new(request: Request) -> Response:
        return drawing.asking(request, Asking.of_query(request.query_params))

    @router.post("/requests/new")
    @declare(Right.FOOTAGE_REQUEST)
    async def ask(request: Request, person: SignedIn) -> Response:
        form = await request.form(max_files=MAX_PAPERS, max_fields=60)
        asked = Asking.of_form(form)
        try:
            filled = form_of(asked)
            handed_in = await _papers(parts, person, form)
            kept = await desk.ask(person, filled, handed_in)
        except InvalidInput as error:
            return drawing.asking(request, asked, error=error)
        return go(f"/requests/{kept.id}")


async def _papers(parts: Parts, person: Person, form: FormData) -> list[Paper]:
    """Keep what was handed in.

    Raises:
        InvalidInput: A file is of no kind that is taken, or too large.
    """
    kept: list[Paper] = []
    for field, value in form.multi_items():
        if not isinstance(value, UploadFile) or not value.filename:
            continue
        label = text(form, f"{field}_label", 100) or field
        content = await value.read(documents.MAX_BYTES + 1)
        now = parts.clock.now()
        made = await documents.add(
            parts.office, content, name=value.filename, by=person.account_id, at=now, field="papers"
        )
        kept.append(Paper(label=label, sha256=made.sha256, name=made.name))
    return kept


def _add_one(router: APIRouter, desk: RequestDesk, drawing: _Drawing) -> None:
    @router.get("/requests/{one}")
    @declare(Right.FOOTAGE_REQUEST)
    async def page(request: Request, person: SignedIn, one: str) -> Response:
        return drawing.one(request, person, await desk.get(person, one))

    @router.get("/parts/requests/{one}")
    @declare(Right.FOOTAGE_REQUEST)
    async def part(request: Request, person: SignedIn, one: str) -> Response:
        return drawing.one(request, person, await desk.get(person, one), "request_state.html")


def _add_decisions(router: APIRouter, desk: RequestDesk, drawing: _Drawing) -> None:
    async def done(request: Request, person: Person, one: str, work: Any) -> Response:
        try:
            await work
        except InvalidInput as error:
            return drawing.one(request, person, await desk.get(person, one), error=error)
        return go(f"/requests/{one}")

    @router.post("/requests/{one}/decide")
    @declare(Right.FOOTAGE_REQUEST)
    async def decide(
        *,
        request: Request,
        person: SignedIn,
        one: str,
        step: Annotated[str, Form(max_length=20)],
        decision: Annotated[str, Form(pattern="^(yes|no)$")],
        reason: Annotated[str, Form(max_length=4_000)] = "",
        acting_as: Annotated[str, Form(max_length=200)] = "",
        days: Annotated[str, Form(pattern=r"^\d{0,3}$")] = "",
    ) -> Response:
        work = desk.decide(
            person,
            one,
            agrees=decision == "yes",
            acting_as=acting_as,
            reason=reason,
            days=int(days or 0),
            step=step,
        )
        return await done(request, person, one, work)

    @router.post("/requests/{one}/withdraw")
    @declare(Right.FOOTAGE_REQUEST)
    async def withdraw(request: Request, person: SignedIn, one: str) -> Response:
        return await done(request, person, one, desk.withdraw(person, one))

    @router.post("/requests/{one}/revoke")
    @declare(Right.FOOTAGE_DECIDE)
    async def revoke(
        request: Request, person: SignedIn, one: str, reason: Annotated[str, Form(max_length=4_000)] = ""
    ) -> Response:
        return await done(request, person, one, desk.revoke(person, one, reason))

    @router.post("/requests/{one}/again")
    @declare(Right.FOOTAGE_REQUEST)
    async def again(request: Request, person: SignedIn, one: str) -> Response:
        return await done(request, person, one, desk.again(person, one))


def _add_files(router: APIRouter, parts: Parts, desk: RequestDesk, packer: Packer) -> None:
    @router.post("/requests/{one}/copy")
    @declare(Right.FOOTAGE_REQUEST)
    async def copy(person: SignedIn, one: str) -> Response:
        await desk.get(person, one)
        size = await packer.size(one)
        if size is None:
            raise Missing("there is no copy to hand over now")
        delivered = await desk.deliver(person, one)
        return _HandOver(desk, packer, delivered, size)

    @router.get("/requests/{one}/papers/{sha256}")
    @declare(Right.FOOTAGE_REQUEST)
    async def paper(person: SignedIn, one: str, sha256: str) -> Response:
        kept = await desk.get(person, one)
        mine = any(each.sha256 == sha256 for each in kept.request.application.papers)
        found = await documents.read(parts.office, sha256) if mine else None
        if found is None:
            raise Missing("no such paper")
        headers = {
            "Content-Disposition": f'attachment; filename="{sha256[:12]}.{found[0].media_type.rpartition("/")[2]}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(found[1], media_type=found[0].media_type, headers=headers)


class _HandOver(StreamingResponse):
    """Sends a copy; where the sending ends early, it is noted that it may be fetched again."""

    def __init__(self, desk: RequestDesk, packer: Packer, kept: Kept, size: int) -> None:
        self._desk, self._packer, self._kept, self._size, self._sent = desk, packer, kept, size, 0
        name = f"liuhen-{kept.request.application.recorder_id}-{kept.id}.zip"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(size),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        super().__init__(self._pieces(), media_type="application/zip", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            whole = self._sent == self._size
            await self._packer.handed_over(self._kept, whole=whole, broke_off=self._desk.broke_off)

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._packer.read(self._kept.id):
            yield piece
            self._sent += len(piece)
