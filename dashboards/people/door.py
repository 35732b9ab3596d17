"""The door: finds out who asks, by the cookie of a session or the token of an integration, anew for each request.

What is looked up is what counts now: an account that was disabled, a password or duty that was changed, a session that
was ended, close the door at the next request. What cannot be looked up is not let in.
"""

from __future__ import annotations

import hmac
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData

from dashboards.people import cookies
from dashboards.people.requests import SAFE, Origins
from dashboards.people.rights import RIGHTS, Duty, Person, Right, Role
from dashboards.problem import First, Forbidden, NotSignedIn
from domain.clock import Clock, ms
from domain.settings import Settings
from storage.office import integrations, signins
from storage.office.accounts import Account, DutyRow
from storage.office.office import Office

BEGINNING: Final = "liuhen_"
"""Begins every token of an integration, so that tools that look for leaked secrets know one."""
SECOND_FACTOR: Final = "/account/second-factor"
WITHOUT_SECOND_FACTOR: Final = frozenset({SECOND_FACTOR, f"{SECOND_FACTOR}.svg", "/sign-out", "/watch"})
"""What somebody may open who needs a second factor and has none yet."""
MAX_TOKEN: Final = 200
SEEN_EVERY_MS: Final = 60_000
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_GUARDED: Final = frozenset(
    {
        Right.FOOTAGE_LIVE,
        Right.FOOTAGE_VIEW,
        Right.FOOTAGE_EXPORT,
        Right.ACCOUNT_MANAGE,
        Right.INTEGRATION_MANAGE,
        Right.AUDIT_SEE,
    }
)
"""Rights that a password alone does not open."""


def duties_of(rows: tuple[DutyRow, ...]) -> tuple[Duty, ...]:
    """Return duties as they stand in the database; one of a role that is not known here is none."""
    known = {str(role) for role in Role}
    return tuple(
        Duty(role=Role(row.role), unit_id=row.unit_id, site_id=row.site_id) for row in rows if row.role in known
    )


def needs_second_factor(duties: tuple[Duty, ...], settings: Settings) -> bool:
    """Tell whether these duties take one-time codes as well."""
    return settings.second_factor and any(_GUARDED & RIGHTS[duty.role] for duty in duties)


class RealDoor:
    """See the module.

    Args:
        office: Knows accounts, sessions and integrations.
        clock: The time.
        settings: How long a session lasts, and who needs a second factor.
        origins: Knows pages of ours from others.

    Raises (from its methods):
        NotSignedIn, Forbidden, First, OfficeUnavailable: Nobody is let in.
    """

    def __init__(self, office: Office, clock: Clock, settings: Settings, origins: Origins) -> None:
        self._office, self._clock, self._settings, self._origins = office, clock, settings, origins

    async def who(self, request: Request) -> Person | None:
        """Return who asks; None where nobody is signed in."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._integration(token.strip())
        token = cookies.read(request, "session", https=self._origins.is_https(request))
        return await self._session(request, token) if token else None

    def knock(self, request: Request) -> None:
        """See that what somebody sends who need not be signed in was sent by a page of ours, or by no page.

        Raises:
            Forbidden: Another site's page sent it.
        """
        if request.method not in SAFE and not self._origins.is_ours(request):
            raise Forbidden("this was not sent from a page of this console")

    async def _integration(self, token: str) -> Person:
        if not token.startswith(BEGINNING) or len(token) > MAX_TOKEN:
            raise NotSignedIn("no such token")
        found = await integrations.of_token(self._office, cookies.hashed(token))
        now = self._clock.now()
        if found is None or found.revoked_at is not None or found.ends_at <= now:
            raise NotSignedIn("no such token, or it is over")
        if found.used_at is None or now - found.used_at >= SEEN_EVERY_MS:
            await integrations.used(self._office, found.integration_id, now)
        return Person(account_id=found.integration_id, name=found.name, duties=duties_of(found.duties), by="token")

    async def _session(self, request: Request, token: str) -> Person | None:
        found = None if len(token) > MAX_TOKEN else await signins.of_token(self._office, cookies.hashed(token))
        if found is None:
            return None
        signin, account = found
        now = self._clock.now()
        idle = now - signin.seen_at >= ms(self._settings.session_idle_s)
        if idle or signin.ends_at <= now or account.state != "active":
            await signins.end(self._office, signin.token_sha256)
            return None
        if now - signin.seen_at >= SEEN_EVERY_MS:
            await signins.seen(self._office, signin.token_sha256, now)
        person = _person(account, cookies.csrf_of(token))
        if request.method not in SAFE:
            await self._check_form(request, person)
        lacking = (
            signin.way == "password" and not account.has_totp and needs_second_factor(person.duties, self._settings)
        )
        if lacking and request.url.path not in WITHOUT_SECOND_FACTOR:
            raise First(SECOND_FACTOR, "set up one-time codes first")
        return person

    async def _check_form(self, request: Request, person: Person) -> None:
        """See that an unsafe request of a session was sent by a page of ours that was drawn for it."""
        self.knock(request)
        sent = request.headers.get("x-csrf-token")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent is None and media_type in _FORMS:
            sent = _text(await request.form(), "csrf")
        if not hmac.compare_digest((sent or "").encode("utf-8", "replace"), person.csrf.encode()):
            raise Forbidden("this form is of another session: open the page anew, and send it again")


def _person(account: Account, csrf: str) -> Person:
    return Person(
        account_id=account.account_id,
        name=account.name,
        duties=duties_of(account.duties),
        by="session",
        language=account.language,
        csrf=csrf,
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
