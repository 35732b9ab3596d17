"""Accounts: who may sign in, what they are in the agency, and how they prove it. Secrets are kept as hashes.

Of the seed of one-time codes no hash will do: whoever reads this database can make codes, but no password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Row,
    String,
    Table,
    delete,
    func,
    select,
    update,
)

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office.office import Office, metadata

State = Literal["invited", "active", "disabled"]

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("login", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("language", String(8), nullable=False),
    Column("password", String(300), nullable=False),
    Column("totp", String(64), nullable=False),
    Column("totp_pending", String(64), nullable=False),
    Column("totp_step", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("accounts_by_login", "login", unique=True),
)

duties = Table(
    "account_duties",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("role", String(32), primary_key=True),
    Column("unit_id", String(200), primary_key=True),
    Column("site_id", String(200), primary_key=True),
)


class DutyRow(msgspec.Struct, frozen=True, order=True):
    """A role and where it holds; empty: everywhere."""

    role: str
    unit_id: str = ""
    site_id: str = ""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account, without its secrets.

    Attributes:
        account_id: Stands in the ledger for whoever it is of; never used again.
        login: What is typed in to sign in; small letters.
        name: What people call them.
        state: `invited` until a password was set; `disabled` lets nobody in.
        language: The one they chose; empty where none.
        duties: What they are, and where.
        has_password: Whether one was set.
        has_totp: Whether a second factor was set up.
        created_at: When it was made.
    """

    account_id: str
    login: str
    name: str
    state: State
    language: str
    duties: tuple[DutyRow, ...]
    has_password: bool
    has_totp: bool
    created_at: Instant


class Proofs(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody's password and code are checked against.

    Attributes:
        password: Argon2id in its own notation; empty where none is set.
        totp: Seed of one-time codes, base 32; empty where none is set up.
        totp_pending: One that was shown, and not confirmed by a code yet.
        totp_step: The newest time step of which a code was used: none is taken twice.
    """

    password: str
    totp: str
    totp_pending: str
    totp_step: int


async def create(
    office: Office, account_id: str, *, login: str, name: str, duties: Sequence[DutyRow], at: Instant
) -> Account:
    """Make an account that nobody can sign in to yet.

    Raises:
        InvalidInput: The login is taken.
    """
    row: dict[str, Any] = {
        "account_id": account_id,
        "login": login,
        "name": name,
        "state": "invited",
        "language": "",
        "password": "",
        "totp": "",
        "totp_pending": "",
        "totp_step": 0,
        "created_at_ms": int(at),
    }

    def work(connection: Connection) -> Account:
        statement = office.insert(accounts).values(row).on_conflict_do_nothing()
        made = connection.execute(statement.execution_options(preserve_rowcount=True))  # else PostgreSQL's says -1
        if made.rowcount != 1:
            raise InvalidInput(f"login: {login} is taken", "login")
        _put_duties(connection, account_id, duties)
        return _account(connection.execute(select(accounts).where(accounts.c.account_id == account_id)).one(), duties)

    return await office.write(work)


async def count(office: Office) -> int:
    """Return how many accounts there are, whatever their state."""
    return await office.read(lambda c: int(c.execute(select(func.count()).select_from(accounts)).scalar_one()))


async def everybody(office: Office) -> list[Account]:
    """Return all accounts, by login."""

    def work(connection: Connection) -> list[Account]:
        held: dict[str, list[DutyRow]] = {}
        for row in connection.execute(select(duties)):
            held.setdefault(row.account_id, []).append(DutyRow(row.role, row.unit_id, row.site_id))
        rows = connection.execute(select(accounts).order_by(accounts.c.login))
        return [_account(row, held.get(row.account_id, [])) for row in rows]

    return await office.read(work)


async def get(office: Office, account_id: str) -> Account | None:
    """Return one account; None where there is none."""
    return await office.read(lambda connection: find(connection, account_id))


async def by_login(office: Office, login: str) -> tuple[Account, Proofs] | None:
    """Return the account of a login, and what its secrets are checked against."""

    def work(connection: Connection) -> tuple[Account, Proofs] | None:
        return _with_proofs(connection, connection.execute(select(accounts).where(accounts.c.login == login)).first())

    return await office.read(work)


async def proofs(office: Office, account_id: str) -> Proofs | None:
    """Return what an account's secrets are checked against."""

    def work(connection: Connection) -> Proofs | None:
        row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).first()
        found = _with_proofs(connection, row)
        return None if found is None else found[1]

    return await office.read(work)


async def set_password(office: Office, account_id: str, password: str) -> None:
    """Put a password's hash in, which lets an invited account in."""
    await _set(office, account_id, password=password, state="active")


async def set_totp(office: Office, account_id: str, *, seed: str = "", pending: str = "", step: int = 0) -> None:
    """Put a seed in, or one that waits for its first code, or none."""
    await _set(office, account_id, totp=seed, totp_pending=pending, totp_step=step)


async def use_code(office: Office, account_id: str, step: int) -> bool:
    """Note that the code of a time step was used; False where it, or a later one, was already."""

    def work(connection: Connection) -> bool:
        found = connection.execute(
            update(accounts)
            .where(accounts.c.account_id == account_id, accounts.c.totp_step < step)
            .values(totp_step=step)
        )
        return found.rowcount == 1

    return await office.write(work)


async def set_language(office: Office, account_id: str, language: str) -> None:
    """Keep the language somebody chose."""
    await _set(office, account_id, language=language)


async def set_name(office: Office, account_id: str, name: str) -> None:
    """Keep another name."""
    await _set(office, account_id, name=name)


async def set_state(office: Office, account_id: str, state: State) -> None:
    """Let nobody in any more, or again."""
    await _set(office, account_id, state=state)


async def set_duties(office: Office, account_id: str, held: Sequence[DutyRow]) -> None:
    """Put these duties in place of those there were."""
    await office.write(lambda connection: _put_duties(connection, account_id, held))


def find(connection: Connection, account_id: str) -> Account | None:
    """Return one account within a transaction."""
    row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).first()
    return None if row is None else _account(row, _duties(connection, account_id))


async def _set(office: Office, account_id: str, **values: Any) -> None:
    await office.write(
        lambda connection: connection.execute(
            update(accounts).where(accounts.c.account_id == account_id).values(**values)
        )
    )


def _put_duties(connection: Connection, account_id: str, held: Sequence[DutyRow]) -> None:
    connection.execute(delete(duties).where(duties.c.account_id == account_id))
    for duty in sorted(set(held)):
        connection.execute(duties.insert().values(account_id=account_id, **msgspec.structs.asdict(duty)))


def _duties(connection: Connection, account_id: str) -> list[DutyRow]:
    rows = connection.execute(select(duties).where(duties.c.account_id == account_id))
    return [DutyRow(row.role, row.unit_id, row.site_id) for row in rows]


def _with_proofs(connection: Connection, row: Row[Any] | None) -> tuple[Account, Proofs] | None:
    if row is None:
        return None
    kept = Proofs(password=row.password, totp=row.totp, totp_pending=row.totp_pending, totp_step=row.totp_step)
    return _account(row, _duties(connection, row.account_id)), kept


def _account(row: Row[Any], held: Sequence[DutyRow]) -> Account:
    return Account(
        account_id=row.account_id,
        login=row.login,
        name=row.name,
        state=row.state,
        language=row.language,
        duties=tuple(sorted(held)),
        has_password=bool(row.password),
        has_totp=bool(row.totp),
        created_at=Instant(row.created_at_ms),
    )
