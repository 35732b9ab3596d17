"""Signing in and out, and links that open once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from dashboards.pages import forms
from dashboards.pages.forms import go, safe_next
from dashboards.parts import Parts
from dashboards.people import cookies, passwords
from dashboards.people.accounts import Accounts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.pace import Slow
from dashboards.people.passwords import Weak
from dashboards.people.rights import Right, Role
from dashboards.people.signing import Entered, Refused, SigningIn
from dashboards.problem import SIGN_IN, Forbidden, Missing
from domain.errors import InvalidInput
from storage.office import accounts, links
from storage.office.accounts import Account, DutyRow
from storage.office.links import Link

MAX_TOKEN = 200


def signing_router(parts: Parts, signing: SigningIn, pages: SignInPages) -> APIRouter:
    """Make the router of the sign-in page, of links, and of signing out."""
    router = parts.guard.router(in_schema=False)

    @router.get(SIGN_IN)
    @declare(Right.PUBLIC)
    async def ask(request: Request) -> Response:
        return pages.ask(request, given=request.query_params.get("next", ""))

    @router.post(SIGN_IN)
    @declare(Right.PUBLIC)
    async def sign_in(request: Request) -> Response:
        return await pages.sign_in(request)

    @router.post("/sign-out")
    @declare(Right.SIGNED_IN)
    async def sign_out(request: Request, person: SignedIn) -> Response:
        await signing.leave(request, person.account_id)
        answer = go(SIGN_IN)
        cookies.drop(answer, "session", https=signing.origins.is_https(request))
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    @router.get("/link/{token}")
    @declare(Right.PUBLIC)
    async def link(request: Request, token: str) -> Response:
        return await pages.link(request, token)

    @router.post("/link/{token}")
    @declare(Right.PUBLIC)
    async def follow(request: Request, token: str) -> Response:
        return await pages.follow(request, token)

    return router


class SignInPages:
    """Draws the pages of signing in, and gives the cookies of a session."""

    def __init__(self, parts: Parts, signing: SigningIn) -> None:
        self._parts, self._signing = parts, signing
        self._accounts = Accounts(parts.office, parts.audit, parts.clock)

    def ask(self, request: Request, *, given: str, status: int = 200, **context: Any) -> Response:
        """Draw the sign-in page."""
        blank: dict[str, Any] = {"problem": "", "wait_s": 0, "login": ""}
        return self._parts.shell.page(
            request,
            "sign_in.html",
            status=status,
            given=given,
            encrypted=self._signing.origins.may_sign_in(request),
            provider=bool(self._parts.settings.oidc_issuer),
            **blank | context,
        )

    async def sign_in(self, request: Request) -> Response:
        """Sign in, or draw the page again."""
        self._only_encrypted(request)
        form = await request.form()
        given, login = forms.text(form, "next"), forms.text(form, "login", 64)
        password, code = forms.text(form, "password", 500), forms.text(form, "code", 20)
        try:
            entered = await self._signing.by_password(request, login, password, code)
        except Refused:
            return self.ask(request, given=given, status=401, problem="wrong", login=login)
        except Slow as slow:
            wait_s = max(1, round(slow.wait_s))
            answer = self.ask(request, given=given, status=429, problem="slow", wait_s=wait_s, login=login)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        return self.entered(request, entered, safe_next(request, given))

    def entered(self, request: Request, entered: Entered, path: str) -> Response:
        """Give the cookies of a session, and go on."""
        https = self._signing.origins.is_https(request)
        answer = go(path)
        cookies.put(answer, "session", entered.token, https=https)
        cookies.put(answer, "device", entered.device, https=https)
        return answer

    async def link(self, request: Request, token: str) -> Response:
        """Draw what a link opens; only sending it uses it up, as programs look at links too."""
        link, account = await self._look(token)
        return self._drawn(request, link, account)

    async def follow(self, request: Request, token: str) -> Response:
        """Do what a link opens."""
        self._only_encrypted(request)
        link, account = await self._look(token)
        if link.kind == "enter":
            try:
                return self.entered(request, await self._signing.by_link(request, token), "/")
            except Refused as error:
                raise _over() from error
        form = await request.form()
        typed = {"login": forms.text(form, "login", 64), "name": forms.text(form, "name", 200)}
        password = forms.text(form, "password", 500)
        try:
            about = (account.login, account.name) if account else (typed["login"], typed["name"])
            passwords.check(password, *about)
            if password != forms.text(form, "again", 500):
                return self._drawn(request, link, account, problem="differ", **typed)
            account = account or await self._first(token, **typed)
        except Weak as weak:
            return self._drawn(request, link, account, problem=weak.why, **typed)
        except InvalidInput as error:
            return self._drawn(request, link, account, problem=error.field, **typed)
        return await self._set_password(request, token, link, account, password)

    async def _set_password(
        self, request: Request, token: str, link: Link, account: Account, password: str
    ) -> Response:
        if link.kind == "password" and await self._use(token) is None:
            raise _over()
        kept = await self._signing.passwords.hashed(password)
        await self._parts.audit.note(account.account_id, "account.password", by_link=True)
        await accounts.set_password(self._parts.office, account.account_id, kept)
        return self.entered(request, await self._signing.enter(request, account, "password"), "/")

    async def _first(self, token: str, login: str, name: str) -> Account:
        """Make the first administrator, once."""
        account_duties = [DutyRow(str(Role.ADMINISTRATOR))]
        if await accounts.count(self._parts.office):
            raise _over()
        made = await self._accounts.make("first-link", login, name, account_duties)
        if await self._use(token) is None:  # somebody else was quicker with it: theirs counts
            await self._accounts.disable("first-link", made)
            raise _over()
        return made

    async def _use(self, token: str) -> Link | None:
        return await links.use(self._parts.office, cookies.hashed(token), self._parts.clock.now())

    async def _look(self, token: str) -> tuple[Link, Account | None]:
        if len(token) > MAX_TOKEN:
            raise _over()
        link = await links.look(self._parts.office, cookies.hashed(token), self._parts.clock.now())
        if link is None:
            raise _over()
        account = await accounts.get(self._parts.office, link.account_id) if link.account_id else None
        if (account is None) != (link.kind == "first") or (account is not None and account.state == "disabled"):
            raise _over()
        return link, account

    def _drawn(self, request: Request, link: Link, account: Account | None, **context: Any) -> Response:
        blank: dict[str, Any] = {"problem": "", "login": "", "name": ""}
        status = 422 if context.get("problem") else 200
        encrypted = self._signing.origins.may_sign_in(request)
        context = blank | context
        return self._parts.shell.page(
            request, "link.html", status=status, link=link, account=account, encrypted=encrypted, **context
        )

    def _only_encrypted(self, request: Request) -> None:
        if not self._signing.origins.may_sign_in(request):
            raise Forbidden("sign in over HTTPS")


def _over() -> Missing:
    return Missing("this link is over, was used, or never was one")
