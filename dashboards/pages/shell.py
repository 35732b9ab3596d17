"""What all pages share: templates, languages, navigation, files, and the headers that keep foreign code out.

A page is a template that extends `base.html`. Its texts stand in `texts/<language>/<page>.toml`; everything that is
filled in is escaped. No script and no style stands in a page: both are files of ours, as the policy below demands.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboards.people.guard import Guard, declare
from dashboards.people.rights import Person, Right
from dashboards.problem import Missing
from dashboards.words import LANGUAGES, Words, words
from domain.clock import Clock

LANGUAGE_COOKIE = "liuhen-language"
LANGUAGE_KEPT_S = 365 * 86_400
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a browser sends its own forms from the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Link(NamedTuple):
    """One entry of the navigation.

    Attributes:
        path: Where it leads.
        key: Its text, in section `nav` of the language.
        right: Shown to those who hold it.
    """

    path: str
    key: str
    right: Right


NAVIGATION = [
    Link("/", "wall", Right.FLEET_SEE),
    Link("/alerts", "alerts", Right.ALERT_SEE),
    Link("/explanations", "explanations", Right.FOOTAGE_SEARCH),
    Link("/sessions", "sessions", Right.FOOTAGE_SEARCH),
    Link("/requests", "requests", Right.FOOTAGE_REQUEST),
    Link("/holds", "holds", Right.HOLD_SET),
    Link("/premises", "premises", Right.PREMISES_SEE),
    Link("/recorders", "recorders", Right.RECORDER_SEE),
    Link("/supervision", "supervision", Right.SUPERVISION_SEE),
    Link("/audit", "audit", Right.AUDIT_SEE),
    Link("/accounts", "accounts", Right.ACCOUNT_MANAGE),
]


class Shell:
    """Draws pages.

    Args:
        clock: The server's time, which pages count ages on.
        places: What people call a unit or site, by its id: the filter `place` of templates.
    """

    def __init__(self, clock: Clock, places: Callable[[str], str] = str) -> None:
        self._clock = clock
        self._templates = Environment(loader=PackageLoader("dashboards"), autoescape=True, undefined=StrictUndefined)
        self._templates.filters["ms"] = int
        self._templates.filters["place"] = places

    def page(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """Draw a page, or a part of one, for whoever asks.

        Args:
            request: Its `state.person` is whom it is drawn for.
            template: Name of a file in `templates/`.
            status: Of the answer.
            context: What is filled in, beside `w` (the language's words), `person`, `csrf`, `now` (ms), `path`,
                `navigation`, `other` (the other language) and `turned` (the address of the page in it).
        """
        w = self.words(request)
        person: Person | None = getattr(request.state, "person", None)
        other = next(code for code in LANGUAGES if code != w.code)
        shared = {
            "w": w,
            "other": other,
            "person": person,
            "csrf": "" if person is None else person.csrf,
            "now": int(self._clock.now()),
            "path": request.url.path,
            "turned": str(request.url.include_query_params(lang=other).replace(scheme="", netloc="")),
            "navigation": [link for link in NAVIGATION if person is not None and person.may(link.right)],
        }
        text = self._templates.get_template(template).render(shared | context)
        answer = Response(text, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)
        if request.query_params.get("lang") == w.code and request.cookies.get(LANGUAGE_COOKIE) != w.code:
            answer.set_cookie(
                LANGUAGE_COOKIE,
                w.code,
                max_age=LANGUAGE_KEPT_S,
                samesite="strict",
                httponly=True,
                secure=request.url.scheme == "https",
            )
        return answer

    def draw(self, template: str, w: Words, **context: Any) -> str:
        """Draw a part of a page that is the same for everybody who reads its language."""
        return self._templates.get_template(template).render({"w": w, **context})

    def words(self, request: Request) -> Words:
        """Return the language to draw in: asked for, else chosen before, else the person's own, else Chinese."""
        person: Person | None = getattr(request.state, "person", None)
        asked = request.query_params.get("lang")
        chosen = request.cookies.get(LANGUAGE_COOKIE)
        own = "" if person is None else person.language
        return words(next((code for code in (asked, chosen, own) if code in LANGUAGES), None))


@cache
def _files() -> dict[str, bytes]:
    """Return all files that pages load, by name: what is not among them is not served, whatever the path says."""
    return {
        file.name: file.read_bytes()
        for file in resources.files("dashboards").joinpath("static").iterdir()
        if file.is_file()
    }


def static_router(guard: Guard) -> APIRouter:
    """Make the router of scripts, styles and pictures of pages, and of the choice of a language."""
    router = guard.router(in_schema=False)

    @router.get("/static/{name}")
    @declare(Right.PUBLIC)
    async def static(name: str) -> Response:
        content = _files().get(name)
        if content is None:
            raise Missing(f"no file {name}")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, media_type=media_type, headers=HEADERS | {"Cache-Control": "no-cache"})

    return router
