"""The ledger of recorders (台账): which there are, who has them, their tokens, their upkeep, their checks before use.

Registered, issued, added, maintained, renewed: Wucheng W-AV 第二十七条; user, handover, Zhanhe Z-AV 第四条. Tokens are
kept as hashes. A line of the ledger is written once and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Index, Integer, String, Table, Text, select

from domain import wire
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Name
from domain.ids import RecorderId
from domain.registry import OldToken, Registration
from storage.office.dossier import Day, File, Line, UnitId
from storage.office.dossier import Text as Words
from storage.office.office import Office, metadata
from storage.office.premises import Taken

State = Literal["active", "suspended", "retired"]
What = Literal[
    "added", "changed", "issued", "returned", "token", "upgraded", "maintained", "out_of_service", "back", "retired"
]
Result = Literal["passed", "failed"]
MAX_TOKENS = 4
"""Of one recorder, the old ones that are still taken among them."""

recorders = Table(
    "recorders",
    metadata,
    Column("recorder_id", String(63), primary_key=True),
    Column("unit_id", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("body", Text, nullable=False),
)
recorder_holders = Table(
    "recorder_holders",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("recorder_id", String(63), ForeignKey("recorders.recorder_id"), nullable=False),
    Column("account_id", String(200), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=True),
    Index("recorder_holders_by_recorder", "recorder_id", "from_ms"),
)
recorder_tokens = Table(
    "recorder_tokens",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("recorder_id", String(63), ForeignKey("recorders.recorder_id"), nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("until_ms", BigInteger, nullable=True),
    Index("recorder_tokens_by_recorder", "recorder_id"),
)
recorder_lines = Table(
    "recorder_lines",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("recorder_id", String(63), ForeignKey("recorders.recorder_id"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("what", String(40), nullable=False),
    Column("note", Text, nullable=False),
    Index("recorder_lines_by_recorder", "recorder_id", "number"),
)


class Card(File, frozen=True, kw_only=True):
    """One recorder, as it stands in the ledger.

    Attributes:
        recorder_id: Its id.
        kind: Body-worn, or fixed in a room of the agency.
        name: What people call it.
        model: Maker and model.
        serial: Its serial number.
        unit_id: The unit that it belongs to.
        site_id: Where it is kept, for one fixed in a room.
        policy: Name of the policy that it is under.
        bought_on: When it came into the ledger's keeping.
        expects_audio: Silence is worth a finding.
        state: In use, out of service, or gone.
        note: Anything else.
    """

    recorder_id: RecorderId
    kind: Literal["body_worn", "room_camera"] = "body_worn"
    name: Line = ""
    model: Line = ""
    serial: Line = ""
    unit_id: UnitId = ""
    site_id: Line = ""
    policy: Name = "wucheng"
    bought_on: Day = ""
    expects_audio: bool = True
    state: State = "active"
    note: Words = ""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a recorder was handed out.

    Attributes:
        recorder_id: Which.
        account_id: Of the officer.
        since: From when.
        until: Until when; None: has it still.
    """

    recorder_id: str
    account_id: str
    since: Instant
    until: Instant | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token, of which only the hash is kept.

    Attributes:
        sha256: Its hash.
        made_at: When.
        made_by: By whom.
        until: Not taken from then on; None: the one in force.
    """

    sha256: str
    made_at: Instant
    made_by: str
    until: Instant | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger."""

    at: Instant
    by: str
    what: str
    note: str = ""


async def all_cards(office: Office) -> list[Card]:
    """Return every recorder by id."""
    query = select(recorders.c.body).order_by(recorders.c.recorder_id)
    found = await office.read(lambda connection: connection.execute(query).scalars().all())
    return [_card(body) for body in found]


async def one_card(office: Office, recorder_id: str) -> Card | None:
    """Return a recorder; None where there is none of this id."""
    return await office.read(lambda connection: find_card(connection, recorder_id))


def find_card(connection: Connection, recorder_id: str, *, to_change: bool = False) -> Card | None:
    """Do the same within a transaction; where it is to be changed nobody else changes it before that one ends."""
    query = select(recorders.c.body).where(recorders.c.recorder_id == recorder_id)
    body = connection.execute(query.with_for_update() if to_change else query).scalar_one_or_none()
    return None if body is None else _card(body)


async def add_card(office: Office, card: Card, *, by: str, at: Instant) -> None:
    """Enter a recorder.

    Raises:
        Taken: Its id is in use.
    """
    await office.write(lambda connection: write_card(office, connection, card, by=by, at=at))


def write_card(office: Office, connection: Connection, card: Card, *, by: str, at: Instant) -> None:
    """Do the same within a transaction."""
    if find_card(connection, card.recorder_id) is not None:
        msg = f"recorder_id: {card.recorder_id} is in use"
        raise Taken(msg, "recorder_id")
    row = {"unit_id": card.unit_id, "state": card.state, "body": _text(card)}
    connection.execute(office.insert(recorders).values(recorder_id=card.recorder_id, **row))
    _line(office, connection, card.recorder_id, at=at, by=by, what="added", note="")


async def change_card(
    office: Office,
    recorder_id: str,
    change: Callable[[Card], Card],
    *,
    what: What,
    by: str,
    at: Instant,
    note: str = "",
) -> Card:
    """Change a recorder as it stands when nobody else changes it; return it as it is then.

    Raises:
        InvalidInput: There is no such recorder.
    """

    def work(connection: Connection) -> Card:
        card = change(known(connection, recorder_id))
        row = {"unit_id": card.unit_id, "state": card.state, "body": _text(card)}
        connection.execute(recorders.update().where(recorders.c.recorder_id == recorder_id).values(**row))
        _line(office, connection, recorder_id, at=at, by=by, what=what, note=note)
        return card

    return await office.write(work)


async def issue(office: Office, recorder_id: str, account_id: str | None, *, by: str, at: Instant) -> None:
    """Hand a recorder out, or take it back where nobody is named; whoever had it has it no longer.

    Raises:
        InvalidInput: There is no such recorder.
    """

    def work(connection: Connection) -> None:
        known(connection, recorder_id)
        has = (recorder_holders.c.recorder_id == recorder_id) & recorder_holders.c.to_ms.is_(None)
        connection.execute(recorder_holders.update().where(has).values(to_ms=int(at)))
        if account_id is not None:
            row = {"recorder_id": recorder_id, "account_id": account_id, "from_ms": int(at), "to_ms": None}
            connection.execute(office.insert(recorder_holders).values(row))
        _line(
            office,
            connection,
            recorder_id,
            at=at,
            by=by,
            what="issued" if account_id else "returned",
            note=account_id or "",
        )

    await office.write(work)


async def holders(office: Office, recorder_id: str | None = None) -> list[Holder]:
    """Return to whom recorders were handed out, one or all, newest first."""
    query = select(recorder_holders).order_by(recorder_holders.c.number.desc())
    if recorder_id is not None:
        query = query.where(recorder_holders.c.recorder_id == recorder_id)
    rows = await office.read(lambda connection: connection.execute(query).all())
    return [
        Holder(
            recorder_id=row.recorder_id,
            account_id=row.account_id,
            since=Instant(row.from_ms),
            until=None if row.to_ms is None else Instant(row.to_ms),
        )
        for row in rows
    ]


async def renew_token(
    office: Office, recorder_id: str, sha256: str, *, old_until: Instant, by: str, at: Instant
) -> None:
    """Put a new token in force; those before it are taken until `old_until` at the latest.

    Raises:
        InvalidInput: There is no such recorder.
    """

    def work(connection: Connection) -> None:
        known(connection, recorder_id)
        mine = recorder_tokens.c.recorder_id == recorder_id
        later = recorder_tokens.c.until_ms.is_(None) | (recorder_tokens.c.until_ms > int(old_until))
        connection.execute(recorder_tokens.update().where(mine & later).values(until_ms=int(old_until)))
        row = {"sha256": sha256, "recorder_id": recorder_id, "made_at_ms": int(at), "made_by": by, "until_ms": None}
        insert = office.insert(recorder_tokens).values(row)  # the same token again is the one in force again
        connection.execute(insert.on_conflict_do_update(index_elements=["sha256"], set_={"until_ms": None}))
        _line(office, connection, recorder_id, at=at, by=by, what="token", note="")

    await office.write(work)


async def tokens(office: Office) -> dict[str, list[Token]]:
    """Return the tokens of every recorder, newest first."""
    query = select(recorder_tokens).order_by(recorder_tokens.c.made_at_ms.desc())
    found: dict[str, list[Token]] = {}
    for row in await office.read(lambda connection: connection.execute(query).all()):
        until = None if row.until_ms is None else Instant(row.until_ms)
        token = Token(sha256=row.sha256, made_at=Instant(row.made_at_ms), made_by=row.made_by, until=until)
        found.setdefault(row.recorder_id, []).append(token)
    return found


async def lines(office: Office, recorder_id: str) -> list[Entry]:
    """Return the lines of a recorder, newest first."""
    query = select(recorder_lines).where(recorder_lines.c.recorder_id == recorder_id)
    rows = await office.read(
        lambda connection: connection.execute(query.order_by(recorder_lines.c.number.desc())).all()
    )
    return [Entry(at=Instant(row.at_ms), by=row.by, what=row.what, note=row.note) for row in rows]


def registration(card: Card, held: Iterable[Token], now: Instant) -> Registration:
    """Return what topic `registry` says of a recorder."""
    sorted_tokens: Sequence[Token] = sorted(held, key=lambda token: (token.until is not None, -token.made_at))
    current = next((token.sha256 for token in sorted_tokens if token.until is None), None)
    old = [token for token in sorted_tokens if token.until is not None and token.until > now]
    return Registration(
        recorder_id=card.recorder_id,
        kind=card.kind,
        policy=card.policy,
        state=card.state,
        site_id=card.site_id or None,
        unit_id=card.unit_id or None,
        name=card.name or None,
        token_sha256=current,
        old_tokens=tuple(OldToken(sha256=token.sha256, until=token.until) for token in old[:MAX_TOKENS] if token.until),
        expects_audio=card.expects_audio,
    )


def known(connection: Connection, recorder_id: str) -> Card:
    """Return a recorder within a transaction that changes something about it.

    Raises:
        InvalidInput: There is no such recorder.
    """
    card = find_card(connection, recorder_id, to_change=True)
    if card is None:
        msg = f"recorder_id: no recorder {recorder_id} in the ledger"
        raise InvalidInput(msg, "recorder_id")
    return card


def _line(
    office: Office, connection: Connection, recorder_id: str, *, at: Instant, by: str, what: str, note: str = ""
) -> None:
    row = {"recorder_id": recorder_id, "at_ms": int(at), "by": by, "what": what, "note": note}
    connection.execute(office.insert(recorder_lines).values(row))


def _text(value: msgspec.Struct) -> str:
    return wire.encode(value).decode()


def _card(body: Any) -> Card:
    return wire.convert(msgspec.json.decode(body), Card)
