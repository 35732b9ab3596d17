"""People who are signed in to a console under test, without the way there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from dashboards.people import cookies
from domain.clock import SystemClock
from storage.office import accounts, signins
from storage.office.accounts import DutyRow
from storage.office.office import Office

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@dataclass(frozen=True)
class Visitor:
    """A browser with a session.

    Attributes:
        account_id: Of whom.
        token: In its cookie.
    """

    account_id: str
    token: str

    @property
    def csrf(self) -> str:
        return cookies.csrf_of(self.token)

    @property
    def cookie(self) -> dict[str, str]:
        """What it sends by itself, over plain HTTP on one machine."""
        return {"Cookie": f"liuhen-session={self.token}"}

    @property
    def headers(self) -> dict[str, str]:
        """What a script of ours sends."""
        return self.cookie | {"X-CSRF-Token": self.csrf}


async def visitor(office: Office, *duties: DutyRow, login: str = "", password: str = "-", seed: str = SEED) -> Visitor:
    """Make an account with these duties, and a session of it.

    Args:
        office: Of the console.
        duties: What it is; nothing where none.
        login: By which it signs in; some where empty.
        password: Hash of its password.
        seed: Of its one-time codes; none where empty.
    """
    clock = SystemClock()
    account_id = f"u-{secrets.token_hex(5)}"
    login = login or account_id
    await accounts.create(office, account_id, login=login, name=f"名 {login}", duties=duties, at=clock.now())
    await accounts.set_password(office, account_id, password)
    await accounts.set_totp(office, account_id, seed=seed)
    return await session_of(office, account_id)


async def session_of(office: Office, account_id: str) -> Visitor:
    """Begin a session of somebody."""
    now, token = SystemClock().now(), cookies.new_token()
    signin = signins.SignIn(
        token_sha256=cookies.hashed(token),
        signin_id=secrets.token_hex(6),
        account_id=account_id,
        begun_at=now,
        seen_at=now,
        ends_at=now.plus(3_600_000),
        address="127.0.0.1",
        agent="tests",
    )
    await signins.begin(office, signin)
    return Visitor(account_id, token)
