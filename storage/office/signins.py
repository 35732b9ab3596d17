"""Who is signed in: sessions of browsers, by the hash of their token; and browsers known from before."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Row, String, Table, delete, select, update

from domain.clock import Instant
from storage.office.accounts import Account, find
from storage.office.office import Office, metadata

DEVICE_DAYS = 180
MAX_DEVICES = 20
"""Browsers that are known of one account; the one unused for longest is forgotten."""

signins = Table(
    "signins",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("signin_id", String(32), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("begun_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(200), nullable=False),
    Column("way", String(16), nullable=False),
    Index("signins_by_account", "account_id"),
)

devices = Table(
    "known_devices",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("used_at_ms", BigInteger, nullable=False),
    Index("known_devices_by_account", "account_id"),
)


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One session of one browser.

    Attributes:
        token_sha256: Hash of the token in its cookie.
        signin_id: What it is called where people see it.
        account_id: Of whom.
        begun_at: When they signed in.
        seen_at: When something was last asked for in it, to the minute.
        ends_at: When it is over, used or not.
        address: Where they signed in from.
        agent: What their browser called itself.
        way: How they showed who they are: `password`, `provider` (OpenID Connect) or `link`.
    """

    token_sha256: str
    signin_id: str
    account_id: str
    begun_at: Instant
    seen_at: Instant
    ends_at: Instant
    address: str
    agent: str
    way: str = "password"


async def begin(office: Office, signin: SignIn) -> None:
    """Keep a new session, and forget those that are over."""

    def work(connection: Connection) -> None:
        connection.execute(delete(signins).where(signins.c.ends_at_ms <= int(signin.begun_at)))
        connection.execute(
            signins.insert().values(
                token_sha256=signin.token_sha256,
                signin_id=signin.signin_id,
                account_id=signin.account_id,
                begun_at_ms=int(signin.begun_at),
                seen_at_ms=int(signin.seen_at),
                ends_at_ms=int(signin.ends_at),
                address=signin.address[:64],
                agent=signin.agent[:200],
                way=signin.way,
            )
        )

    await office.write(work)


async def of_token(office: Office, token_sha256: str) -> tuple[SignIn, Account] | None:
    """Return the session of a token and the account it is of, both as they are now."""

    def work(connection: Connection) -> tuple[SignIn, Account] | None:
        row = connection.execute(select(signins).where(signins.c.token_sha256 == token_sha256)).first()
        account = None if row is None else find(connection, row.account_id)
        return None if row is None or account is None else (_signin(row), account)

    return await office.read(work)


async def seen(office: Office, token_sha256: str, at: Instant) -> None:
    """Note that a session is in use."""
    await office.write(
        lambda connection: connection.execute(
            update(signins).where(signins.c.token_sha256 == token_sha256).values(seen_at_ms=int(at))
        )
    )


async def of_account(office: Office, account_id: str) -> list[SignIn]:
    """Return somebody's sessions, the newest first."""

    def work(connection: Connection) -> list[SignIn]:
        query = select(signins).where(signins.c.account_id == account_id).order_by(signins.c.begun_at_ms.desc())
        return [_signin(row) for row in connection.execute(query)]

    return await office.read(work)


async def end(office: Office, token_sha256: str) -> None:
    """End a session."""
    await office.write(
        lambda connection: connection.execute(delete(signins).where(signins.c.token_sha256 == token_sha256))
    )


async def end_one(office: Office, account_id: str, signin_id: str) -> None:
    """End one of somebody's sessions, by what it is called."""
    mine = (signins.c.account_id == account_id) & (signins.c.signin_id == signin_id)
    await office.write(lambda connection: connection.execute(delete(signins).where(mine)))


async def end_all(office: Office, account_id: str, *, keep: str = "") -> None:
    """End all of somebody's sessions, but the one of the token whose hash is `keep`."""
    others = (signins.c.account_id == account_id) & (signins.c.token_sha256 != keep)
    await office.write(lambda connection: connection.execute(delete(signins).where(others)))


async def know_device(office: Office, token_sha256: str, account_id: str, at: Instant) -> None:
    """Remember a browser that somebody signed in from."""

    def work(connection: Connection) -> None:
        old = int(at) - DEVICE_DAYS * 86_400_000
        connection.execute(delete(devices).where(devices.c.used_at_ms < old))
        statement = office.insert(devices).values(token_sha256=token_sha256, account_id=account_id, used_at_ms=int(at))
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["token_sha256"], set_={"used_at_ms": int(at), "account_id": account_id}
            )
        )
        mine = select(devices.c.token_sha256).where(devices.c.account_id == account_id)
        kept = mine.order_by(devices.c.used_at_ms.desc()).limit(MAX_DEVICES)
        forgotten = (devices.c.account_id == account_id) & devices.c.token_sha256.not_in(kept)
        connection.execute(delete(devices).where(forgotten))

    await office.write(work)


async def knows_device(office: Office, token_sha256: str, account_id: str) -> bool:
    """Tell whether somebody signed in from a browser before."""
    query = select(devices.c.account_id).where(
        devices.c.token_sha256 == token_sha256, devices.c.account_id == account_id
    )
    return await office.read(lambda connection: connection.execute(query).first() is not None)


async def forget_devices(office: Office, account_id: str) -> None:
    """Forget from where somebody signed in."""
    await office.write(lambda connection: connection.execute(delete(devices).where(devices.c.account_id == account_id)))


def _signin(row: Row[Any]) -> SignIn:
    return SignIn(
        token_sha256=row.token_sha256,
        signin_id=row.signin_id,
        account_id=row.account_id,
        begun_at=Instant(row.begun_at_ms),
        seen_at=Instant(row.seen_at_ms),
        ends_at=Instant(row.ends_at_ms),
        address=row.address,
        agent=row.agent,
        way=row.way,
    )
