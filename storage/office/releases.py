"""Requests to lift a hold: one person asks, another one decides. What was decided stays."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, Text, select

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office.office import Office, metadata

State = Literal["asked", "confirmed", "refused", "withdrawn"]

releases = Table(
    "hold_releases",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hold_id", String(32), nullable=False),
    Column("recorder_id", String(200), nullable=False),
    Column("session_id", String(200)),
    Column("state", String(16), nullable=False),
    Column("asked_by", String(200), nullable=False),
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_by", String(200)),
    Column("decided_at_ms", BigInteger),
    Column("remark", Text),
    Index("hold_releases_by_hold", "hold_id", "asked_at_ms"),
    Index("hold_releases_by_state", "state", "asked_at_ms"),
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        id: Its own, 32 hex digits.
        hold_id: Of the hold.
        recorder_id: Whose footage.
        session_id: Of which session; None where the hold is on all of a span.
        state: Where it stands; a hold has one that is `asked` at most.
        asked_by: Account, or name on the command line.
        asked_at: When.
        reason: Why.
        decided_by: Who confirmed or refused it, or withdrew it.
        decided_at: When.
        remark: In their words.
    """

    id: str
    hold_id: str
    recorder_id: str
    session_id: str | None
    state: State
    asked_by: str
    asked_at: Instant
    reason: str
    decided_by: str | None = None
    decided_at: Instant | None = None
    remark: str | None = None


async def ask(office: Office, request: Request) -> None:
    """Keep a request.

    Raises:
        InvalidInput: The hold has one already that nobody has decided.
    """

    def work(connection: Connection) -> None:
        if _open(connection, request.hold_id) is not None:
            msg = "hold: somebody has asked for its release already"
            raise InvalidInput(msg, "hold")
        connection.execute(releases.insert().values(_values(request)))

    await office.write(work)


async def decide(office: Office, one: str, state: State, *, by: str, at: Instant, remark: str | None) -> Request:
    """Decide a request.

    Raises:
        InvalidInput: It was decided already.
    """

    def work(connection: Connection) -> Request:
        table = releases.c
        known = connection.execute(select(releases).where(table.id == one, table.state == "asked")).one_or_none()
        if known is None:
            msg = "hold: this request was decided already"
            raise InvalidInput(msg, "hold")
        values = {"state": state, "decided_by": by, "decided_at_ms": int(at), "remark": remark}
        connection.execute(releases.update().where(table.id == one).values(values))
        asked = _row(known)
        return msgspec.structs.replace(asked, state=state, decided_by=by, decided_at=at, remark=remark)

    return await office.write(work)


async def asked(office: Office, hold_id: str) -> Request | None:
    """Return the request about a hold that nobody has decided; None where there is none."""
    return await office.read(lambda connection: _open(connection, hold_id))


async def undecided(office: Office) -> dict[str, Request]:
    """Return all requests that nobody has decided, by hold."""
    query = select(releases).where(releases.c.state == "asked").order_by(releases.c.asked_at_ms).limit(2000)
    rows = await office.read(lambda connection: connection.execute(query).all())
    return {row.hold_id: _row(row) for row in rows}


async def decided(office: Office, limit: int = 50) -> list[Request]:
    """Return the requests decided last, the newest first."""
    query = select(releases).where(releases.c.state != "asked").order_by(releases.c.decided_at_ms.desc()).limit(limit)
    return [_row(row) for row in await office.read(lambda connection: connection.execute(query).all())]


def _open(connection: Connection, hold_id: str) -> Request | None:
    query = select(releases).where(releases.c.hold_id == hold_id, releases.c.state == "asked")
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _row(row)


def _values(request: Request) -> dict[str, Any]:
    values = msgspec.structs.asdict(request)
    for name in ("asked_at", "decided_at"):
        at = values.pop(name)
        values[f"{name}_ms"] = None if at is None else int(at)
    return values


def _row(row: Any) -> Request:
    values = dict(row._mapping)
    for name in ("asked_at", "decided_at"):
        at = values.pop(f"{name}_ms")
        values[name] = None if at is None else Instant(at)
    return Request(**values)
