"""A token of a program for a console that is asked by tests, made beside it in its office."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from domain.clock import SystemClock
from storage.office import integrations
from storage.office.accounts import DutyRow
from storage.office.integrations import Integration
from storage.office.office import Office

ALL_ROLES = ("duty_officer", "supervisor", "site_operator", "archive_manager", "auditor", "administrator")


def token_for(office: str | Path, *duties: DutyRow) -> str:
    """Return a token that opens a console, by itself everything in it.

    Args:
        office: Address of its office's database, or the folder that `liuhen` runs in with the default settings.
        duties: What it may; every role in the whole agency where none is given.
    """
    address = office if isinstance(office, str) else f"sqlite:///{office}/data/office.db"
    with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
        return thread.submit(lambda: asyncio.run(make_token(address, *duties))).result()


async def make_token(office: str | Office, *duties: DutyRow) -> str:
    """As `token_for`; given the address of an office, or an office that is open."""
    token = f"liuhen_{secrets.token_urlsafe(32)}"
    now = SystemClock().now()
    made = Integration(
        integration_id=f"t-{secrets.token_hex(4)}",
        name="tests",
        duties=duties or tuple(DutyRow(role) for role in ALL_ROLES),
        made_by="tests",
        made_at=now,
        ends_at=now.plus(86_400_000),
    )
    opened = await Office.connect(office) if isinstance(office, str) else office
    try:
        await integrations.add(opened, made, hashlib.sha256(token.encode()).hexdigest())
    finally:
        if isinstance(office, str):
            await opened.close()
    return token


def reading(url: str, office: str | Path) -> httpx.Client:
    """Return a client of a console that shows a token of its own; arguments as for `token_for`."""
    return httpx.Client(base_url=url, headers=bearer(token_for(office)), timeout=30)


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}
