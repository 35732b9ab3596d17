"""My account: password, one-time codes, language, and where I am signed in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from dashboards.pages import forms
from dashboards.pages.forms import go
from dashboards.pages.shell import HEADERS, LANGUAGE_COOKIE
from dashboards.parts import Parts
from dashboards.people import codes, cookies, passwords
from dashboards.people.door import SECOND_FACTOR, needs_second_factor
from dashboards.people.guard import SignedIn, declare
from dashboards.people.pace import Slow
from dashboards.people.passwords import Weak
from dashboards.people.rights import Person, Right
from dashboards.people.signing import Refused, SigningIn
from dashboards.problem import Missing
from dashboards.words import LANGUAGES
from storage.office import accounts, signins
from storage.office.accounts import Account, Proofs

PICTURE = f"{SECOND_FACTOR}.svg"


def account_router(parts: Parts, signing: SigningIn) -> APIRouter:
    """Make the router of a person's own account."""
    router = parts.guard.router(in_schema=False)
    pages = _Pages(parts, signing)

    @router.get("/account")
    @declare(Right.SIGNED_IN)
    async def mine(request: Request, person: SignedIn) -> Response:
        return await pages.draw(request, person)

    @router.post("/account/password")
    @declare(Right.SIGNED_IN)
    async def password(request: Request, person: SignedIn) -> Response:
        return await pages.password(request, person)

    @router.post("/account/language")
    @declare(Right.SIGNED_IN)
    async def language(request: Request, person: SignedIn) -> Response:
        return await pages.language(await request.form(), person)

    @router.post("/account/sessions/{signin_id}/end")
    @declare(Right.SIGNED_IN)
    async def end(person: SignedIn, signin_id: str) -> Response:
        await parts.audit.note(person, "session.ended", signin=signin_id[:32])
        await signins.end_one(parts.office, person.account_id, signin_id[:32])
        return go("/account")

    @router.get(SECOND_FACTOR)
    @declare(Right.SIGNED_IN)
    async def second_factor(request: Request, person: SignedIn) -> Response:
        return await pages.second_factor(request, person)

    @router.post(SECOND_FACTOR)
    @declare(Right.SIGNED_IN)
    async def confirm(request: Request, person: SignedIn) -> Response:
        return await pages.confirm(request, person)

    @router.get(PICTURE)
    @declare(Right.SIGNED_IN)
    async def picture(person: SignedIn) -> Response:
        account, proofs = await pages.whose(person)
        if not proofs.totp_pending:
            raise Missing("nothing waits for a code")
        return Response(codes.picture(proofs.totp_pending, account.login), media_type="image/svg+xml", headers=HEADERS)

    return router


class _Pages:
    def __init__(self, parts: Parts, signing: SigningIn) -> None:
        self._parts, self._signing = parts, signing

    async def whose(self, person: Person) -> tuple[Account, Proofs]:
        """Return the account of whoever asks.

        Raises:
            Missing: It is a program's token: there is none.
        """
        found = await accounts.get(self._parts.office, person.account_id) if person.by == "session" else None
        proofs = await accounts.proofs(self._parts.office, person.account_id) if found is not None else None
        if found is None or proofs is None:
            raise Missing("no account: a program has none")
        return found, proofs

    async def draw(self, request: Request, person: Person, *, status: int = 200, **context: Any) -> Response:
        """Draw the page."""
        account, _ = await self.whose(person)
        blank = {"problem": "", "wait_s": 0, "done": request.query_params.get("done", "")}
        return self._parts.shell.page(
            request,
            "account.html",
            status=status,
            account=account,
            required=needs_second_factor(person.duties, self._parts.settings),
            languages=LANGUAGES,
            signins=await signins.of_account(self._parts.office, account.account_id),
            this=cookies.hashed(self._signing.token(request)),
            **blank | context,
        )

    async def password(self, request: Request, person: Person) -> Response:
        """Take another password, from whoever knows the one there is; all other sessions end."""
        account, _ = await self.whose(person)
        form = await request.form()
        new = forms.text(form, "password", 500)
        try:
            await self._signing.proven(request, account.login, forms.text(form, "old", 500))
            passwords.check(new, account.login, account.name)
        except Refused:
            return await self.draw(request, person, status=422, problem="wrong")
        except Slow as slow:
            return await self.draw(request, person, status=429, problem="slow", wait_s=slow.wait_s)
        except Weak as weak:
            return await self.draw(request, person, status=422, problem=weak.why)
        if new != forms.text(form, "again", 500):
            return await self.draw(request, person, status=422, problem="differ")
        kept = await self._signing.passwords.hashed(new)
        await self._parts.audit.note(person, "account.password")
        await accounts.set_password(self._parts.office, account.account_id, kept)
        this = cookies.hashed(self._signing.token(request))
        await signins.end_all(self._parts.office, account.account_id, keep=this)
        return go("/account?done=password")

    async def language(self, form: FormData, person: Person) -> Response:
        """Keep the language that somebody chose."""
        account, _ = await self.whose(person)
        asked = forms.text(form, "language", 8)
        await accounts.set_language(self._parts.office, account.account_id, asked if asked in LANGUAGES else "")
        answer = go("/account")
        answer.delete_cookie(LANGUAGE_COOKIE)
        return answer

    async def second_factor(
        self, request: Request, person: Person, *, status: int = 200, problem: str = ""
    ) -> Response:
        """Show a seed that waits for its first code; a new one where none waits."""
        account, proofs = await self.whose(person)
        pending = proofs.totp_pending
        if not pending:
            pending = codes.new_seed()
            step, seed = proofs.totp_step, proofs.totp
            await accounts.set_totp(self._parts.office, account.account_id, seed=seed, pending=pending, step=step)
        groups = " ".join(pending[at : at + 4] for at in range(0, len(pending), 4))
        return self._parts.shell.page(
            request, "second_factor.html", status=status, account=account, groups=groups, problem=problem
        )

    async def confirm(self, request: Request, person: Person) -> Response:
        """Put the seed in force when its first code comes, and the last one of the seed before, where there is one."""
        account, proofs = await self.whose(person)
        form = await request.form()
        step = codes.step_of(proofs.totp_pending, forms.text(form, "code", 20), self._parts.clock.now())
        old = forms.text(form, "old_code", 20)
        if proofs.totp and not await self._signing.is_code(account.account_id, proofs.totp, old):
            step = None
        if not proofs.totp_pending or step is None:
            return await self.second_factor(request, person, status=422, problem="wrong")
        await self._parts.audit.note(person, "account.second_factor")
        await accounts.set_totp(self._parts.office, account.account_id, seed=proofs.totp_pending, step=step)
        this = cookies.hashed(self._signing.token(request))
        await signins.end_all(self._parts.office, account.account_id, keep=this)
        return go("/account?done=second_factor")
