"""Links that open something once: a first administrator, an invitation, a new password, a way in."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Row, String, Table, delete, select

from domain.clock import Instant
from storage.office.office import Office, metadata

Kind = Literal["first", "password", "enter"]
"""`first`: make the first administrator; `password`: set one; `enter`: sign in as somebody, for a demonstration."""

links = Table(
    "one_time_links",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One of them.

    Attributes:
        token_sha256: Hash of what stands in its address.
        kind: What it opens.
        ends_at: From then on it opens nothing.
        account_id: For whom; empty where for nobody in particular.
    """

    token_sha256: str
    kind: Kind
    ends_at: Instant
    account_id: str = ""


async def add(office: Office, link: Link, now: Instant) -> None:
    """Keep one, in place of others of its kind for the same account, and forget those that are over.

    Of the first administrator, too, there is one link: the last that was shown. Others for nobody in particular stand
    beside one another.
    """

    def work(connection: Connection) -> None:
        connection.execute(delete(links).where(links.c.ends_at_ms <= int(now)))
        if link.account_id or link.kind == "first":
            same = (links.c.kind == link.kind) & (links.c.account_id == link.account_id)
            connection.execute(delete(links).where(same))
        row = {name: value for name, value in msgspec.structs.asdict(link).items() if name != "ends_at"}
        connection.execute(links.insert().values(**row, ends_at_ms=int(link.ends_at)))

    await office.write(work)


async def look(office: Office, token_sha256: str, now: Instant) -> Link | None:
    """Return what a link would open; None where it is over, used or made up."""
    return await office.read(lambda connection: _find(connection, token_sha256, now))


async def use(office: Office, token_sha256: str, now: Instant) -> Link | None:
    """Return what a link opens, once."""

    def work(connection: Connection) -> Link | None:
        found = _find(connection, token_sha256, now)
        gone = connection.execute(delete(links).where(links.c.token_sha256 == token_sha256)).rowcount
        return found if gone == 1 else None

    return await office.write(work)


async def withdraw(office: Office, account_id: str) -> None:
    """Let no link for an account open anything any more."""
    await office.write(lambda connection: connection.execute(delete(links).where(links.c.account_id == account_id)))


def _find(connection: Connection, token_sha256: str, now: Instant) -> Link | None:
    row: Row[Any] | None = connection.execute(select(links).where(links.c.token_sha256 == token_sha256)).first()
    if row is None or row.ends_at_ms <= int(now):
        return None
    return Link(
        token_sha256=row.token_sha256,
        kind=row.kind,
        ends_at=Instant(row.ends_at_ms),
        account_id=row.account_id,
    )
