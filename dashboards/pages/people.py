"""All pages of signing in, of one's own account, of accounts and of the audit: what they share is made here."""

from __future__ import annotations

from fastapi import APIRouter

from dashboards.pages.account import account_router
from dashboards.pages.accounts import accounts_router
from dashboards.pages.audit import audit_router
from dashboards.pages.signing import SignInPages, signing_router
from dashboards.parts import Parts
from dashboards.people.requests import Origins
from dashboards.people.signing import SigningIn


def people_routers(parts: Parts) -> list[APIRouter]:
    """Make their routers."""
    origins = Origins(parts.settings)
    signing = SigningIn(parts.office, parts.audit, parts.clock, parts.settings, origins)
    pages = SignInPages(parts, signing)
    routers = [
        signing_router(parts, signing, pages),
        account_router(parts, signing),
        accounts_router(parts, origins),
        audit_router(parts),
    ]
    if parts.settings.oidc_issuer:
        from dashboards.pages.provider import provider_router  # noqa: PLC0415 - loads what few need
        from dashboards.people.provider import Provider  # noqa: PLC0415

        routers.append(provider_router(parts, signing, pages, Provider(parts.settings, parts.clock)))
    return routers
