"""The ledger of recorders for programs: the same desk as the pages, as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
from fastapi import APIRouter, Request, Response

from dashboards import query
from dashboards.openapi import answers
from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.registration.bodies import as_json, read_object
from dashboards.registration.ledger_desk import LedgerDesk, Owed
from domain.wire import convert
from storage.office import prechecks, recorders
from storage.office.prechecks import Check
from storage.office.recorders import Card, Entry, Holder, What

Answered = Callable[[Person, str, int], Awaitable[Response]]


class CardFile(msgspec.Struct):
    """A recorder of the ledger.

    Attributes:
        card: What is written of it.
        holders: To whom it was handed out, newest first.
        lines: What was done about it, newest first.
        checks: Its checks before use of today, newest first.
    """

    card: Card
    holders: list[Holder]
    lines: list[Entry]
    checks: list[Check]


class Cards(msgspec.Struct):
    """The recorders that somebody may see."""

    items: list[Card]


class OwedChecks(msgspec.Struct):
    """Sessions of today without a check before them."""

    items: list[Owed]


class HolderSaid(msgspec.Struct, forbid_unknown_fields=True):
    """Who is to have a recorder; nobody where null."""

    account_id: str | None


class TokenSaid(msgspec.Struct, forbid_unknown_fields=True):
    """For how long the token before is taken."""

    overlap_days: float = 0.0


class NewToken(msgspec.Struct):
    """A token, told this once."""

    token: str


class EntrySaid(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of the ledger: maintained, upgraded, out_of_service, back, retired."""

    what: str
    note: str = ""


class CheckSaid(msgspec.Struct, forbid_unknown_fields=True):
    """A check before use: each point that the policy asks for, found well or not."""

    points: dict[str, bool]
    note: str = ""


def add_ledger(router: APIRouter, parts: Parts, desk: LedgerDesk) -> None:
    """Add the routes of the ledger."""

    async def answered(person: Person, recorder_id: str, status: int) -> Response:
        card = await desk.card(person, recorder_id)
        found = CardFile(
            card,
            await recorders.holders(parts.office, recorder_id),
            await recorders.lines(parts.office, recorder_id),
            await prechecks.checks(parts.office, since=desk.midnight(), recorder_id=recorder_id),
        )
        return as_json(found, status)

    @router.get("/recorder-ledger", responses=answers(Cards))
    @declare(Right.RECORDER_SEE)
    async def cards(request: Request, person: SignedIn) -> Response:
        """The ledger of recorders, by id."""
        query.only(request, ())
        return as_json(Cards(await desk.cards(person)))

    @router.post("/recorder-ledger", status_code=201, responses=answers(CardFile, "Entered.", 201))
    @declare(Right.RECORDER_EDIT)
    async def add(request: Request, person: SignedIn) -> Response:
        """Enter a recorder."""
        card = await desk.add(person, convert({**await read_object(request), "state": "active"}, Card))
        return await answered(person, card.recorder_id, 201)

    @router.get("/recorder-checks/owed", responses=answers(OwedChecks))
    @declare(Right.RECORDER_SEE)
    async def owed(request: Request, person: SignedIn) -> Response:
        """Sessions of today that began without a check before them."""
        query.only(request, ())
        return as_json(OwedChecks(await desk.owed(person)))

    _add_deeds(router, desk, answered)


def _add_deeds(router: APIRouter, desk: LedgerDesk, answered: Answered) -> None:
    @router.get("/recorder-ledger/{recorder_id}", responses=answers(CardFile))
    @declare(Right.RECORDER_SEE)
    async def card(person: SignedIn, recorder_id: str) -> Response:
        """One recorder."""
        return await answered(person, recorder_id, 200)

    @router.put("/recorder-ledger/{recorder_id}", responses=answers(CardFile))
    @declare(Right.RECORDER_EDIT)
    async def change(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """Change what is written of it; its kind and state stay."""
        await desk.change(person, convert({**await read_object(request), "recorder_id": recorder_id}, Card))
        return await answered(person, recorder_id, 200)

    @router.post("/recorder-ledger/{recorder_id}/holders", responses=answers(CardFile))
    @declare(Right.RECORDER_EDIT)
    async def issue(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """Hand it out, or take it back."""
        await desk.issue(person, recorder_id, convert(await read_object(request), HolderSaid).account_id)
        return await answered(person, recorder_id, 200)

    @router.post("/recorder-ledger/{recorder_id}/tokens", responses=answers(NewToken))
    @declare(Right.RECORDER_EDIT)
    async def token(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """Make a new token. It is told this once."""
        days = convert(await read_object(request), TokenSaid).overlap_days
        return as_json(NewToken(await desk.renew_token(person, recorder_id, days)))

    @router.post("/recorder-ledger/{recorder_id}/entries", responses=answers(CardFile))
    @declare(Right.RECORDER_EDIT)
    async def entry(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """Write an entry."""
        said = convert(await read_object(request), EntrySaid)
        await desk.entry(person, recorder_id, cast("What", said.what), said.note)
        return await answered(person, recorder_id, 200)

    @router.post("/recorder-ledger/{recorder_id}/checks", responses=answers(Check))
    @declare(Right.RECORDER_SEE)
    async def check(request: Request, person: SignedIn, recorder_id: str) -> Response:
        """Log a check before use; what the device says of itself stands before what is said of it."""
        said = convert(await read_object(request), CheckSaid)
        return as_json(await desk.check(person, recorder_id, said.points, said.note))
