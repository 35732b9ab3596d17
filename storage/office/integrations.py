"""Integrations: programs that ask the API in their own name, each with a token that was shown once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Row, String, Table, Text, select, update

from domain.clock import Instant
from storage.office.accounts import DutyRow
from storage.office.office import Office, metadata

integrations = Table(
    "integrations",
    metadata,
    Column("integration_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("duties", Text, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    Column("used_at_ms", BigInteger),
    Index("integrations_by_token", "token_sha256", unique=True),
)


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """One program that may ask.

    Attributes:
        integration_id: Stands in the ledger for it.
        name: What people call it.
        duties: What it may, and where.
        made_by: Account that made it.
        made_at: When.
        ends_at: From then on its token opens nothing.
        revoked_at: When it was taken back; None while it stands.
        used_at: When it last asked, to the minute.
    """

    integration_id: str
    name: str
    duties: tuple[DutyRow, ...]
    made_by: str
    made_at: Instant
    ends_at: Instant
    revoked_at: Instant | None = None
    used_at: Instant | None = None


async def add(office: Office, integration: Integration, token_sha256: str) -> None:
    """Keep a new one, under the hash of its token."""
    await office.write(
        lambda connection: connection.execute(
            integrations.insert().values(
                integration_id=integration.integration_id,
                name=integration.name,
                token_sha256=token_sha256,
                duties=msgspec.json.encode(integration.duties).decode(),
                made_by=integration.made_by,
                made_at_ms=int(integration.made_at),
                ends_at_ms=int(integration.ends_at),
            )
        )
    )


async def of_token(office: Office, token_sha256: str) -> Integration | None:
    """Return whose token this is."""

    def work(connection: Connection) -> Integration | None:
        row = connection.execute(select(integrations).where(integrations.c.token_sha256 == token_sha256)).first()
        return None if row is None else _integration(row)

    return await office.read(work)


async def everything(office: Office) -> Sequence[Integration]:
    """Return all of them, the newest first."""
    query = select(integrations).order_by(integrations.c.made_at_ms.desc(), integrations.c.integration_id)
    return await office.read(lambda connection: [_integration(row) for row in connection.execute(query)])


async def revoke(office: Office, integration_id: str, at: Instant) -> bool:
    """Take one back; False where there is none that stands."""
    standing = (integrations.c.integration_id == integration_id) & integrations.c.revoked_at_ms.is_(None)
    done = update(integrations).where(standing).values(revoked_at_ms=int(at))
    return await office.write(lambda connection: connection.execute(done).rowcount == 1)


async def used(office: Office, integration_id: str, at: Instant) -> None:
    """Note that one asked."""
    done = update(integrations).where(integrations.c.integration_id == integration_id).values(used_at_ms=int(at))
    await office.write(lambda connection: connection.execute(done))


def _integration(row: Row[Any]) -> Integration:
    return Integration(
        integration_id=row.integration_id,
        name=row.name,
        duties=msgspec.json.decode(row.duties, type=tuple[DutyRow, ...]),
        made_by=row.made_by,
        made_at=Instant(row.made_at_ms),
        ends_at=Instant(row.ends_at_ms),
        revoked_at=None if row.revoked_at_ms is None else Instant(row.revoked_at_ms),
        used_at=None if row.used_at_ms is None else Instant(row.used_at_ms),
    )
