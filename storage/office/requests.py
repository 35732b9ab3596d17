"""Requests for footage as the office keeps them: to be listed and found. What holds is what the ledger says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, Text, select

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert, encode
from storage.office.office import Office, metadata
from storage.office.request_steps import Request, State

Packing = Literal["", "waiting", "packing", "ready", "failed"]
"""Of a copy that was granted: how far it is made."""

requests = Table(
    "requests",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("want", String(16), nullable=False),
    Column("recorder_id", String(200), nullable=False),
    Column("session_id", String(200), nullable=False),
    Column("asked_by", String(200), nullable=False),
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("packing", String(16), nullable=False),
    Column("packing_note", Text, nullable=False),
    Column("packed_sha256", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Index("requests_by_time", "asked_at_ms", "id"),
    Index("requests_by_state", "state", "asked_at_ms"),
    Index("requests_by_person", "asked_by", "recorder_id", "state"),
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and how far its copy is made.

    Attributes:
        request: What was decided.
        version: Of the row; a writer must know the newest.
        packing: See `Packing`.
        packing_note: Why it failed.
        packed_sha256: Of the made copy's list.
    """

    request: Request
    version: int = 0
    packing: Packing = ""
    packing_note: str = ""
    packed_sha256: str = ""

    @property
    def id(self) -> str:
        """Of the application."""
        return self.request.application.id


async def add(office: Office, request: Request) -> Kept:
    """Keep a new request."""
    kept = Kept(request=request, packing=_first_packing(request))
    await office.write(lambda connection: connection.execute(requests.insert().values(_values(kept))))
    return kept


async def change(office: Office, before: Kept, after: Request) -> Kept:
    """Put a request in place of itself.

    Raises:
        InvalidInput: Somebody else changed it meanwhile.
    """
    packing = before.packing
    if after.state == "granted" and before.request.state == "asked":
        packing = _first_packing(after)
    kept = msgspec.structs.replace(before, request=after, version=before.version + 1, packing=packing)

    def work(connection: Connection) -> None:
        mine = (requests.c.id == before.id, requests.c.version == before.version)
        if connection.execute(requests.update().where(*mine).values(_values(kept))).rowcount != 1:
            raise InvalidInput("request: somebody else changed it meanwhile; look at it again", "request")

    await office.write(work)
    return kept


async def set_packing(office: Office, one: str, packing: Packing, note: str = "", sha256: str = "") -> None:
    """Note how far a copy is made."""
    values = {"packing": packing, "packing_note": note[:2000], "packed_sha256": sha256}
    await office.write(
        lambda connection: connection.execute(requests.update().where(requests.c.id == one).values(values))
    )


async def get(office: Office, one: str) -> Kept | None:
    """Return a request, None where there is none of that id."""
    found = await _all(office, lambda query: query.where(requests.c.id == one))
    return found[0] if found else None


async def newest(
    office: Office, *, states: Sequence[State] = (), asked_by: str | None = None, limit: int = 500
) -> list[Kept]:
    """Return requests, the newest first."""

    def narrow(query: Any) -> Any:
        if states:
            query = query.where(requests.c.state.in_(states))
        if asked_by is not None:
            query = query.where(requests.c.asked_by == asked_by)
        return query.order_by(requests.c.asked_at_ms.desc(), requests.c.id).limit(limit)

    return await _all(office, narrow)


async def to_pack(office: Office) -> list[Kept]:
    """Return granted requests whose copy is still to be made, the oldest first."""
    unfinished = (requests.c.state == "granted", requests.c.packing.in_(("waiting", "packing")))
    return await _all(office, lambda query: query.where(*unfinished).order_by(requests.c.asked_at_ms, requests.c.id))


async def grants_of(office: Office, account_id: str, recorder_id: str, now: Instant) -> list[Kept]:
    """Return what lets somebody see footage of a recorder now."""
    table = requests.c
    holds = (
        table.asked_by == account_id,
        table.recorder_id == recorder_id,
        table.state == "granted",
        table.want == "view",
        table.expires_at_ms > int(now),
    )
    found = await _all(office, lambda query: query.where(*holds))
    return [one for one in found if one.request.lets_view(now)]


async def _all(office: Office, narrow: Callable[[Any], Any]) -> list[Kept]:
    query = narrow(select(requests))
    rows = await office.read(lambda connection: connection.execute(query).all())
    return [_row(row) for row in rows]


def _first_packing(request: Request) -> Packing:
    return "waiting" if request.state == "granted" and request.application.want != "view" else ""


def _values(kept: Kept) -> dict[str, Any]:
    request = kept.request
    asked = request.application
    return {
        "id": asked.id,
        "version": kept.version,
        "state": request.state,
        "want": asked.want,
        "recorder_id": asked.recorder_id,
        "session_id": asked.session_id,
        "asked_by": asked.asked_by,
        "asked_at_ms": int(asked.asked_at),
        "expires_at_ms": None if request.expires_at is None else int(request.expires_at),
        "packing": kept.packing,
        "packing_note": kept.packing_note,
        "packed_sha256": kept.packed_sha256,
        "body": encode(request).decode(),
    }


def _row(row: Any) -> Kept:
    return Kept(
        request=convert(msgspec.json.decode(row.body), Request),
        version=row.version,
        packing=row.packing,
        packing_note=row.packing_note,
        packed_sha256=row.packed_sha256,
    )
