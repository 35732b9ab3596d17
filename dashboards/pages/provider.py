"""The way to the agency's own sign-in, and back."""

from __future__ import annotations

import base64
import binascii
import logging

from fastapi import APIRouter, Request, Response

from dashboards.pages.forms import go, safe_next
from dashboards.pages.signing import SignInPages
from dashboards.parts import Parts
from dashboards.people import cookies
from dashboards.people.guard import declare
from dashboards.people.provider import Journey, NotVouched, Provider
from dashboards.people.rights import Right
from dashboards.people.signing import SigningIn, normal_login
from dashboards.problem import SIGN_IN
from storage.office import accounts
from storage.office.accounts import Account

THERE = f"{SIGN_IN}/provider"
BACK = f"{THERE}/back"
MAX_CARRIED = 3_000

log = logging.getLogger(__name__)


def provider_router(parts: Parts, signing: SigningIn, pages: SignInPages, provider: Provider) -> APIRouter:
    """Make the router of the way there and back."""
    router = parts.guard.router(in_schema=False)

    @router.get(THERE)
    @declare(Right.PUBLIC)
    async def there(request: Request) -> Response:
        journey = Journey.begin()
        address = await provider.way_there(journey, signing.origins.here(request) + BACK)
        answer = go(address)
        carried = _carry(journey, request.query_params.get("next", ""))
        cookies.put(answer, "oidc", carried, https=signing.origins.is_https(request))
        return answer

    @router.get(BACK)
    @declare(Right.PUBLIC)
    async def back(request: Request) -> Response:
        https = signing.origins.is_https(request)
        journey, given = _carried(cookies.read(request, "oidc", https=https))
        try:
            claim = await provider.vouched(
                journey, signing.origins.here(request) + BACK, dict(request.query_params.items())
            )
            account = await _account(parts, claim)
        except NotVouched as error:
            log.warning("sign-in by provider: %s", error)
            answer = pages.ask(request, given="", status=401, problem="provider_failed")
        else:
            entered = await signing.enter(request, account, "provider")
            answer = pages.entered(request, entered, safe_next(request, given))
        cookies.drop(answer, "oidc", https=https)
        return answer

    return router


async def _account(parts: Parts, claim: str) -> Account:
    found = await accounts.by_login(parts.office, normal_login(claim))
    if found is None or found[0].state == "disabled":
        raise NotVouched("somebody without an account here")
    account = found[0]
    if account.state == "invited":
        await accounts.set_state(parts.office, account.account_id, "active")
    return account


def _carry(journey: Journey, given: str) -> str:
    place = base64.urlsafe_b64encode(given.encode("utf-8", "replace")[:1000]).decode()
    return f"{journey.secret}.{place}"


def _carried(cookie: str) -> tuple[Journey, str]:
    """Read what a browser brings back; of one that brings nothing, a journey that nobody made."""
    secret, _, place = cookie[:MAX_CARRIED].partition(".")
    try:
        given = base64.urlsafe_b64decode(place).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        given = ""
    return (Journey(secret) if len(secret) >= 43 else Journey.begin()), given
