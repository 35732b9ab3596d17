"""What administrators do with accounts: make, invite, reset, change, take away. In the ledger first, then here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

import msgspec

from dashboards.people import cookies
from dashboards.people.audit import Audit
from dashboards.people.door import BEGINNING
from dashboards.people.rights import Person, Role
from dashboards.people.signing import normal_login
from domain.clock import Clock, Instant
from domain.errors import InvalidInput
from storage.office import accounts, integrations, links, signins
from storage.office.accounts import Account, DutyRow
from storage.office.integrations import Integration
from storage.office.office import Office

LINK_MS = 72 * 3_600_000
FIRST_MS = 3_600_000
MAX_TOKEN_DAYS = 730
MAX_DUTIES = 50
_LOGIN = re.compile(r"[\w.@-]{2,64}")
_PLACE = re.compile(r"[^\x00-\x1f\x7f]{0,200}")


class Accounts:
    """See the module.

    Args:
        office: Where they are kept.
        audit: Told first.
        clock: The time.
    """

    def __init__(self, office: Office, audit: Audit, clock: Clock) -> None:
        self._office, self._audit, self._clock = office, audit, clock

    async def make(self, by: Person | str, login: str, name: str, duties: Sequence[DutyRow]) -> Account:
        """Make an account that a password must still be set for.

        Raises:
            InvalidInput: Login, name or duties cannot be used; names the field.
        """
        login, name, held = normal_login(login), _name(name), checked(duties)
        if not _LOGIN.fullmatch(login):
            raise InvalidInput("login: 2 to 64 letters, digits, and . _ @ -", "login")
        account_id = f"u-{secrets.token_hex(5)}"
        if await accounts.by_login(self._office, login) is not None:
            raise InvalidInput(f"login: {login} is taken", "login")
        await self._audit.note(by, "account.created", account=account_id, login=login, duties=_plain(held))
        at = self._clock.now()
        return await accounts.create(self._office, account_id, login=login, name=name, duties=held, at=at)

    async def invite(self, by: Person | str, account: Account, why: str = "invited") -> str:
        """Return the token of a link by which somebody sets a password, once, within three days."""
        await self._audit.note(by, f"account.{why}", account=account.account_id)
        return await self._link("password", LINK_MS, account.account_id)

    async def reset(self, by: Person | str, account: Account) -> str:
        """Take password, second factor and sessions away; return the token of a link to set a new password."""
        await self._audit.note(by, "account.reset", account=account.account_id)
        await accounts.set_password(self._office, account.account_id, "")
        await accounts.set_totp(self._office, account.account_id)
        await self._shut(account.account_id)
        return await self._link("password", LINK_MS, account.account_id)

    async def first(self) -> str | None:
        """Return the token of a link to make the first administrator; None where there are accounts already."""
        if await accounts.count(self._office):
            return None
        return await self._link("first", FIRST_MS)

    async def entering(self, account: Account) -> str:
        """Return the token of a link that signs somebody in, once: for a demonstration alone."""
        return await self._link("enter", LINK_MS, account.account_id)

    async def set_duties(self, by: Person | str, account: Account, duties: Sequence[DutyRow]) -> None:
        """Put other duties in place; whoever it is must sign in again.

        Raises:
            InvalidInput: One of them cannot be used.
        """
        held = checked(duties)
        await self._audit.note(by, "account.duties", account=account.account_id, duties=_plain(held))
        await accounts.set_duties(self._office, account.account_id, held)
        await signins.end_all(self._office, account.account_id)

    async def set_name(self, by: Person | str, account: Account, name: str) -> None:
        """Change what people call somebody."""
        name = _name(name)
        await self._audit.note(by, "account.named", account=account.account_id, name=name)
        await accounts.set_name(self._office, account.account_id, name)

    async def disable(self, by: Person | str, account: Account) -> None:
        """Let somebody in no more."""
        await self._audit.note(by, "account.disabled", account=account.account_id)
        await accounts.set_state(self._office, account.account_id, "disabled")
        await self._shut(account.account_id)

    async def enable(self, by: Person | str, account: Account) -> None:
        """Let somebody in again."""
        await self._audit.note(by, "account.enabled", account=account.account_id)
        state: accounts.State = "active" if account.has_password else "invited"
        await accounts.set_state(self._office, account.account_id, state)

    async def make_integration(
        self, by: Person | str, name: str, duties: Sequence[DutyRow], days: int
    ) -> tuple[Integration, str]:
        """Make a program that may ask, and its token, which is nowhere to be had again.

        Raises:
            InvalidInput: Name, duties or days cannot be used.
        """
        name, held = _name(name), checked(duties)
        if not 1 <= days <= MAX_TOKEN_DAYS:
            raise InvalidInput(f"days: 1 to {MAX_TOKEN_DAYS}", "days")
        if any(duty.role == Role.OFFICER for duty in held):
            raise InvalidInput("duties: a program has no footage of its own", "duties")
        now = self._clock.now()
        made = Integration(
            integration_id=f"t-{secrets.token_hex(5)}",
            name=name,
            duties=held,
            made_by=by if isinstance(by, str) else by.account_id,
            made_at=now,
            ends_at=now.plus(days * 86_400_000),
        )
        await self._audit.note(
            by, "integration.created", integration=made.integration_id, name=name, duties=_plain(held), days=days
        )
        token = BEGINNING + cookies.new_token()
        await integrations.add(self._office, made, cookies.hashed(token))
        return made, token

    async def revoke(self, by: Person | str, integration_id: str) -> None:
        """Take an integration's token back."""
        await self._audit.note(by, "integration.revoked", integration=integration_id)
        await integrations.revoke(self._office, integration_id, self._clock.now())

    async def _shut(self, account_id: str) -> None:
        await links.withdraw(self._office, account_id)
        await signins.end_all(self._office, account_id)
        await signins.forget_devices(self._office, account_id)

    async def _link(self, kind: links.Kind, for_ms: int, account_id: str = "") -> str:
        token, now = cookies.new_token(), self._clock.now()
        ends_at = Instant(now + for_ms)
        link = links.Link(token_sha256=cookies.hashed(token), kind=kind, ends_at=ends_at, account_id=account_id)
        await links.add(self._office, link, now)
        return token


def checked(duties: Sequence[DutyRow]) -> tuple[DutyRow, ...]:
    """Return duties in order, each once.

    Raises:
        InvalidInput: A role that there is not, or a place that cannot be one.
    """
    known = {str(role) for role in Role}
    for duty in duties:
        if duty.role not in known:
            raise InvalidInput("duties: no such role", "duties")
        if not _PLACE.fullmatch(duty.unit_id) or not _PLACE.fullmatch(duty.site_id):
            raise InvalidInput("duties: a unit or site that cannot be one", "duties")
    if len(duties) > MAX_DUTIES:
        raise InvalidInput(f"duties: at most {MAX_DUTIES}", "duties")
    return tuple(sorted(set(duties)))


def parse_duty(text: str) -> DutyRow:
    """Read `role[@unit[/site]]`, as it stands on a command line.

    Raises:
        InvalidInput: It is none.
    """
    role, _, place = text.partition("@")
    unit_id, _, site_id = place.partition("/")
    return checked([DutyRow(role.strip().replace("-", "_"), unit_id.strip(), site_id.strip())])[0]


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InvalidInput("name: 1 to 200 characters on one line", "name")
    return name


def _plain(duties: Sequence[DutyRow]) -> list[dict[str, str]]:
    return [msgspec.to_builtins(duty) for duty in duties]
