"""The holds desk: what is held, what two people release, and what has come to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Form, Query, Request, Response

from dashboards.holding.desk import HoldDesk
from dashboards.pages.forms import go
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.names import who_of
from dashboards.people.rights import Person, Right
from dashboards.query import Cursor
from domain.clock import CHINA, Instant
from domain.errors import InvalidInput
from domain.events import HoldOrigin

PAGE = 100
ORIGINS = get_args(HoldOrigin)
NOTES = frozenset({"set", "asked", "confirmed", "refused", "withdrawn", "decided"})

Reason = Annotated[str, Form(max_length=2_000)]
Short = Annotated[str, Form(max_length=200)]
When = Annotated[str, Form(max_length=40)]
HoldId = Annotated[str, Form(pattern=r"^[0-9a-f]{32}$")]
Origin = Annotated[str, Query(pattern="^(person|finding|case)?$")]


def holds_router(parts: Parts) -> APIRouter:
    """Make the router of the pages."""
    router = parts.guard.router(in_schema=False)
    desk = HoldDesk(parts)
    drawing = _Drawing(parts, desk)
    _add_holds(router, desk, drawing)
    _add_releases(router, desk, drawing)
    _add_ended(router, desk, drawing)
    return router


def _add_holds(router: APIRouter, desk: HoldDesk, drawing: _Drawing) -> None:
    @router.get("/holds")
    @declare(Right.HOLD_SET)
    async def listing(
        *, request: Request, person: SignedIn, origin: Origin = "", cursor: Cursor = None, said: str = ""
    ) -> Response:
        return await drawing.holds(request, person, origin=origin, cursor=cursor, note=said)

    @router.post("/holds")
    @declare(Right.HOLD_SET)
    async def hold(
        *,
        request: Request,
        person: SignedIn,
        recorder: Short,
        session: Short = "",
        from_at: When = "",
        to_at: When = "",
        reason: Reason = "",
        case: Short = "",
    ) -> Response:
        async def work() -> str:
            await desk.set(
                person,
                recorder_id=recorder.strip(),
                session_id=session.strip(),
                from_at=moment(from_at, "from_at"),
                to_at=moment(to_at, "to_at"),
                reason=reason,
                case=case,
            )
            return "set"

        given = {"recorder": recorder, "session": session, "from_at": from_at, "to_at": to_at, "reason": reason}
        return await drawing.change(request, person, work, given | {"case": case})


def _add_releases(router: APIRouter, desk: HoldDesk, drawing: _Drawing) -> None:
    @router.post("/holds/release")
    @declare(Right.HOLD_RELEASE)
    async def ask(*, request: Request, person: SignedIn, hold: HoldId, reason: Reason = "") -> Response:
        async def work() -> str:
            return (await desk.ask(person, hold, reason)).state

        return await drawing.change(request, person, work)

    @router.post("/holds/confirm")
    @declare(Right.HOLD_RELEASE)
    async def decide(
        *,
        request: Request,
        person: SignedIn,
        hold: HoldId,
        decision: Annotated[str, Form(pattern="^(confirm|refuse)$")],
        reason: Reason = "",
    ) -> Response:
        async def work() -> str:
            step = desk.confirm if decision == "confirm" else desk.refuse
            return (await step(person, hold, reason)).state

        return await drawing.change(request, person, work)


def _add_ended(router: APIRouter, desk: HoldDesk, drawing: _Drawing) -> None:
    @router.get("/holds/ended")
    @declare(Right.EXPIRY_DECIDE)
    async def ended(*, request: Request, person: SignedIn, said: str = "") -> Response:
        return await drawing.ended(request, person, note=said)

    @router.post("/holds/ended")
    @declare(Right.EXPIRY_DECIDE)
    async def decide(
        *,
        request: Request,
        person: SignedIn,
        recorder: Short,
        session: Short,
        decision: Annotated[Literal["delete", "keep"], Form()],
        listed_until: When,
        reason: Reason = "",
        document: Short = "",
        again_at: When = "",
    ) -> Response:
        try:
            await desk.decide(
                person,
                recorder_id=recorder,
                session_id=session,
                decision=decision,
                listed_until=moment(listed_until, "listed_until") or Instant(0),
                reason=reason,
                document=document,
                again_at=moment(again_at, "again_at"),
            )
        except InvalidInput as error:
            return await drawing.ended(request, person, error=error)
        return go("/holds/ended?said=decided")


class _Drawing:
    """Draws the two pages."""

    def __init__(self, parts: Parts, desk: HoldDesk) -> None:
        self._parts, self._desk = parts, desk

    async def holds(
        self,
        request: Request,
        person: Person,
        *,
        origin: str = "",
        cursor: str | None = None,
        note: str = "",
        error: InvalidInput | None = None,
        given: dict[str, str] | None = None,
    ) -> Response:
        chosen: HoldOrigin | None = origin if origin in ORIGINS else None  # type: ignore[assignment]
        standing, following = await self._desk.page(person, chosen, cursor, PAGE)
        place = self._parts.place
        return self._parts.shell.page(
            request,
            "holds.html",
            status=200 if error is None else 422,
            standing=standing,
            asked=await self._desk.asked(person),
            decided=await self._desk.decided(person),
            cursor=following,
            origin=origin,
            origins=ORIGINS,
            may_release={
                one.hold.recorder_id
                for one in standing
                if person.may_at(Right.HOLD_RELEASE, place(one.hold.recorder_id))
            },
            name_of=self._name_of,
            who=await who_of(self._parts.office),
            given=given or {name: request.query_params.get(name, "")[:200] for name in _FIELDS},
            note=note if note in NOTES else "",
            error=error,
            wrong="" if error is None else error.field,
        )

    async def ended(
        self, request: Request, person: Person, *, note: str = "", error: InvalidInput | None = None
    ) -> Response:
        return self._parts.shell.page(
            request,
            "holds_ended.html",
            status=200 if error is None else 422,
            ended=await self._desk.ended(person),
            name_of=self._name_of,
            seen_at=self._parts.clock.now().rfc3339(),
            note=note if note in NOTES else "",
            error=error,
        )

    async def change(
        self,
        request: Request,
        person: Person,
        work: Callable[[], Awaitable[str]],
        given: dict[str, str] | None = None,
    ) -> Response:
        """Do something and go back to the list; what was refused is shown in its place."""
        try:
            said = await work()
        except InvalidInput as error:
            return await self.holds(request, person, error=error, given=given)
        return go(f"/holds?said={said}")

    def _name_of(self, recorder_id: str) -> Any:
        recorder = self._parts.fleet.recorders.get(recorder_id)
        return recorder.name if recorder is not None and recorder.name else recorder_id


_FIELDS = ("recorder", "session", "from_at", "to_at", "reason", "case")


def moment(text: str, field: str) -> Instant | None:
    """Read a time of a form: RFC 3339, or date and time of day without a zone, which is China's; None where empty.

    Raises:
        InvalidInput: Neither; names the field.
    """
    text = text.strip().replace(" ", "T")
    if not text:
        return None
    for candidate in (text, f"{text}{_CHINA_OFFSET}"):
        try:
            return Instant.parse(candidate)
        except ValueError:
            continue
    msg = f"{field}: no time"
    raise InvalidInput(msg, field)


_CHINA_OFFSET = str(CHINA)
