"""Explanations of stops that people write here: drafts, what they sent, and what reviewers made of it.

What was sent stays as it was sent: a draft may be changed by whoever writes it, everything else only moves on. What
counts is the event on the log; this says who wrote it, and who read it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, Text, select

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office.office import Office, metadata

State = Literal["draft", "sent", "awaiting", "approved", "returned"]
"""sent: it needs no review; awaiting: somebody else reads it before it counts; returned: they sent it back."""

explanations = Table(
    "explanations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("recorder_id", String(200), nullable=False),
    Column("session_id", String(200), nullable=False),
    Column("stopped_at_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("method", String(16), nullable=False),
    Column("cause", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("written_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger),
    Column("reviewed_by", String(200)),
    Column("reviewed_at_ms", BigInteger),
    Column("remark", Text),
    Column("published_at_ms", BigInteger),
    Index("explanations_by_stop", "recorder_id", "session_id", "stopped_at_ms"),
    Index("explanations_by_state", "state", "written_at_ms"),
)


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One explanation.

    Attributes:
        id: Its own, 32 hex digits.
        recorder_id: Whose stop.
        session_id: Of which session.
        stopped_at: Which stop: its last captured moment.
        state: Where it stands.
        method: `written` or `work_record`; one that came from a device may be `voice`.
        cause: Of the policy's list, or `other`.
        text: In words.
        by: Account that explains.
        written_at: When it was last changed.
        sent_at: When it was sent; it does not change from then on.
        reviewed_by: Account that approved it or sent it back.
        reviewed_at: When.
        remark: Why it was sent back.
        published_at: When the log took what was decided last; None: it has still to be told.
    """

    id: str
    recorder_id: str
    session_id: str
    stopped_at: Instant
    state: State
    method: str
    cause: str
    text: str
    by: str
    written_at: Instant
    sent_at: Instant | None = None
    reviewed_by: str | None = None
    reviewed_at: Instant | None = None
    remark: str | None = None
    published_at: Instant | None = None

    @property
    def untold(self) -> bool:
        """Something was decided that the log has not taken yet."""
        return self.state in ("sent", "awaiting", "approved") and self.published_at is None


async def save(office: Office, draft: Explained) -> None:
    """Keep a draft, in place of what it was before.

    Raises:
        InvalidInput: It was sent meanwhile, or is somebody else's.
    """

    def work(connection: Connection) -> None:
        known = _find(connection, draft.id)
        if known is not None and (known.state != "draft" or known.by != draft.by):
            msg = "explanation: what was sent stays as it is; write another"
            raise InvalidInput(msg, "explanation")
        values = _values(draft)
        statement = office.insert(explanations).values(values)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))

    await office.write(work)


async def discard(office: Office, one: str, by: str) -> None:
    """Throw a draft of one's own away; what is no such draft stays."""
    table = explanations.c
    mine = (table.id == one, table.by == by, table.state == "draft")
    await office.write(lambda connection: connection.execute(explanations.delete().where(*mine)))


async def add(office: Office, sent: Explained) -> None:
    """Keep what came another way, such as from a device; known already, it changes nothing."""
    statement = office.insert(explanations).values(_values(sent)).on_conflict_do_nothing()
    await office.write(lambda connection: connection.execute(statement))


async def review(
    office: Office, one: str, *, approved: bool, by: str, at: Instant, remark: str | None = None
) -> Explained:
    """Approve what awaits it, or send it back.

    Raises:
        InvalidInput: It awaits no review any more, or whoever explains would review their own.
    """

    def work(connection: Connection) -> Explained:
        known = _find(connection, one)
        check_review(known, by)
        values: dict[str, Any] = {
            "state": "approved" if approved else "returned",
            "reviewed_by": by,
            "reviewed_at_ms": int(at),
            "remark": remark,
            "published_at_ms": None,
        }
        connection.execute(explanations.update().where(explanations.c.id == one).values(values))
        after = _find(connection, one)
        if after is None:
            msg = f"explanations: {one} is gone within its own transaction"
            raise LookupError(msg)
        return after

    return await office.write(work)


def check_review(known: Explained | None, by: str) -> None:
    """See `review`."""
    if known is None or known.state != "awaiting":
        msg = "explanation: it awaits no review any more"
        raise InvalidInput(msg, "explanation")
    if known.by == by:
        msg = "explanation: somebody else than who explains must review it"
        raise InvalidInput(msg, "reviewer")


async def published(office: Office, one: str, at: Instant) -> None:
    """Note that the log has taken what was decided."""
    statement = explanations.update().where(explanations.c.id == one).values(published_at_ms=int(at))
    await office.write(lambda connection: connection.execute(statement))


async def get(office: Office, one: str) -> Explained | None:
    """Return one, None where there is none of that id."""
    return await office.read(lambda connection: _find(connection, one))


async def of_session(office: Office, recorder_id: str, session_id: str) -> list[Explained]:
    """Return what was written of a session, the oldest first."""
    table = explanations.c
    query = select(explanations).where(table.recorder_id == recorder_id, table.session_id == session_id)
    return await _all(office, query.order_by(table.written_at_ms, table.id))


async def in_state(office: Office, *states: State, newest_first: bool = False, limit: int = 500) -> list[Explained]:
    """Return those in some states, the one that has waited longest first, or last."""
    table = explanations.c
    query = select(explanations).where(table.state.in_(states))
    order = (table.written_at_ms.desc(), table.id.desc()) if newest_first else (table.written_at_ms, table.id)
    return await _all(office, query.order_by(*order).limit(limit))


async def untold(office: Office, limit: int = 500) -> list[Explained]:
    """Return what was decided and the log has not taken yet, the oldest first."""
    table = explanations.c
    query = select(explanations).where(
        table.state.in_(("sent", "awaiting", "approved")), table.published_at_ms.is_(None)
    )
    return await _all(office, query.order_by(table.written_at_ms, table.id).limit(limit))


async def _all(office: Office, query: Any) -> list[Explained]:
    rows = await office.read(lambda connection: connection.execute(query).all())
    return [_row(row) for row in rows]


def _find(connection: Connection, one: str) -> Explained | None:
    row = connection.execute(select(explanations).where(explanations.c.id == one)).one_or_none()
    return None if row is None else _row(row)


_TIMES = ("stopped_at", "written_at", "sent_at", "reviewed_at", "published_at")


def _values(one: Explained) -> dict[str, Any]:
    values = msgspec.structs.asdict(one)
    for name in _TIMES:
        at = values.pop(name)
        values[f"{name}_ms"] = None if at is None else int(at)
    return values


def _row(row: Any) -> Explained:
    values = dict(row._mapping)
    for name in _TIMES:
        at = values.pop(f"{name}_ms")
        values[name] = None if at is None else Instant(at)
    return Explained(**values)
