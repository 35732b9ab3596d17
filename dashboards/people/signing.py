"""Signing in and out: a password and a code, a link that opens once, or what a provider says.

1. Ask how fast may be tried (`pace.py`), and hold back or refuse.
2. Check password and code, in the same time whether there is such an account or not.
3. Note the sign-in in the custody ledger; without that there is none.
4. Begin the session, under a token that did not exist before.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import unicodedata

import msgspec
from fastapi import Request

from dashboards.people import codes, cookies
from dashboards.people.audit import Audit
from dashboards.people.pace import Pace, Slow
from dashboards.people.passwords import Passwords
from dashboards.people.requests import Origins, neighbourhood
from domain.clock import Clock, ms
from domain.settings import Settings
from storage.office import accounts, links, signins
from storage.office.accounts import Account, Proofs
from storage.office.office import Office

log = logging.getLogger(__name__)

TELL_FAILURES = frozenset({5, 10, 20, 50, 100, 1000})
"""At so many failures of one client at one login the ledger is told; each of them would let a flood fill it."""
MAX_HELD = 200
"""Answers that are held back at once; one more is refused."""


class Refused(Exception):
    """Not signed in; says no more, so that nobody learns what was wrong."""


class Entered(msgspec.Struct, frozen=True):
    """A session that was begun: the tokens for the two cookies."""

    token: str
    device: str


class SigningIn:
    """See the module.

    Args:
        office: Knows accounts and sessions.
        audit: Told of sign-ins, and of many failures.
        clock: The time.
        settings: How long a session lasts.
        origins: Knows where a request is from.
    """

    def __init__(self, office: Office, audit: Audit, clock: Clock, settings: Settings, origins: Origins) -> None:
        self._office, self._audit, self._clock, self._settings = office, audit, clock, settings
        self.origins = origins
        self.passwords = Passwords()
        self._pace = Pace(clock)
        self._held = 0

    async def by_password(self, request: Request, login: str, password: str, code: str) -> Entered:
        """Sign somebody in who typed these.

        Raises:
            Slow: Tried too often.
            Refused: Wrong.
            Crowded, OfficeUnavailable, LedgerUnavailable: Cannot be told now.
        """
        login = normal_login(login)
        found = await accounts.by_login(self._office, login)
        known = await self._known_device(request, found)
        client = known or neighbourhood(self.origins.client(request))
        await self._hold_back(self._pace.check(client, login, known=bool(known)))
        if not await self._is_right(found, password, code):
            await self._failed(request, client, login, known=bool(known))
            raise Refused
        self._pace.succeeded(client, login)
        if found is None:
            raise Refused
        return await self.enter(request, found[0], "password")

    async def proven(self, request: Request, login: str, password: str) -> None:
        """See that whoever is signed in knows the password, before something of weight is changed.

        Raises:
            Slow: Tried too often.
            Refused: Wrong.
        """
        found = await accounts.by_login(self._office, login)
        client = await self._known_device(request, found) or neighbourhood(self.origins.client(request))
        self._pace.check(client, login, known=True)
        if not await self.passwords.matches("" if found is None else found[1].password, password):
            await self._failed(request, client, login, known=True)
            raise Refused
        self._pace.succeeded(client, login)

    async def by_link(self, request: Request, token: str) -> Entered:
        """Sign somebody in who has a link that does that once.

        Raises:
            Refused: It is over, used, or never was one.
        """
        found = await links.use(self._office, cookies.hashed(token), self._clock.now())
        account = None if found is None or found.kind != "enter" else await accounts.get(self._office, found.account_id)
        if account is None or account.state != "active":
            raise Refused
        return await self.enter(request, account, "link")

    async def enter(self, request: Request, account: Account, way: str) -> Entered:
        """Begin a session of somebody who has shown who they are.

        Raises:
            LedgerUnavailable: It cannot be noted: there is none.
        """
        address = self.origins.client(request)
        await self._audit.note(account.account_id, "session.begun", way=way, address=address)
        now = self._clock.now()
        token = cookies.new_token()
        old = self.device(request)
        device = (
            old if old and await signins.knows_device(self._office, cookies.hashed(old), account.account_id) else ""
        )
        device = device or cookies.new_token()
        signin = signins.SignIn(
            token_sha256=cookies.hashed(token),
            signin_id=secrets.token_hex(6),
            account_id=account.account_id,
            begun_at=now,
            seen_at=now,
            ends_at=now.plus(ms(self._settings.session_max_s)),
            address=address,
            agent=printable(request.headers.get("user-agent", "")),
            way=way,
        )
        former = self.token(request)
        if former:
            await signins.end(self._office, cookies.hashed(former))
        await signins.begin(self._office, signin)
        await signins.know_device(self._office, cookies.hashed(device), account.account_id, now)
        return Entered(token, device)

    async def leave(self, request: Request, account_id: str) -> None:
        """End the session of a request."""
        await self._audit.note(account_id, "session.ended")
        await signins.end(self._office, cookies.hashed(self.token(request)))

    def token(self, request: Request) -> str:
        """Return the session's token in a request; empty where there is none."""
        return cookies.read(request, "session", https=self.origins.is_https(request))

    def device(self, request: Request) -> str:
        """Return the token by which a browser is known; empty where it is not."""
        return cookies.read(request, "device", https=self.origins.is_https(request))

    async def _known_device(self, request: Request, found: tuple[Account, Proofs] | None) -> str:
        token = self.device(request)
        if not token or found is None:
            return ""
        hashed = cookies.hashed(token)
        return hashed if await signins.knows_device(self._office, hashed, found[0].account_id) else ""

    async def _is_right(self, found: tuple[Account, Proofs] | None, password: str, code: str) -> bool:
        kept = "" if found is None or found[0].state != "active" else found[1].password
        if not await self.passwords.matches(kept, password) or found is None:
            return False
        account, proofs = found
        return not proofs.totp or await self.is_code(account.account_id, proofs.totp, code)

    async def is_code(self, account_id: str, seed: str, code: str) -> bool:
        """Tell whether a code is right, and was not used before; it is then."""
        step = codes.step_of(seed, code, self._clock.now())
        return step is not None and await accounts.use_code(self._office, account_id, step)

    async def _hold_back(self, wait_s: float) -> None:
        if wait_s <= 0:
            return
        if self._held >= MAX_HELD:
            raise Slow(wait_s)
        self._held += 1
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._held -= 1

    async def _failed(self, request: Request, client: str, login: str, *, known: bool) -> None:
        count = self._pace.failed(client, login, known=known)
        address = self.origins.client(request)
        if count in TELL_FAILURES:
            log.warning("sign-in: %d failures at %s from %s", count, printable(login), printable(address))
            await self._audit.note("anonymous", "session.refused", login=printable(login), address=address, times=count)


def normal_login(text: str) -> str:
    """Return the one form in which a login is kept and compared."""
    return unicodedata.normalize("NFKC", text).strip().casefold()[:64]


def printable(text: str, most: int = 200) -> str:
    """Return foreign text as one line without control characters, for a log or a ledger."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:most])
