"""What pages with forms share: reading a field, and where to go afterwards."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

MAX_FIELD = 2_000


def text(form: FormData, name: str, most: int = MAX_FIELD) -> str:
    """Return a field of a form as text, cut off; empty where there is none, or a file stands in its place."""
    value = form.get(name)
    return value[:most] if isinstance(value, str) else ""


def texts(form: FormData, name: str, most: int = MAX_FIELD) -> list[str]:
    """Return all fields of a name."""
    return [value[:most] for value in form.getlist(name) if isinstance(value, str)]


def go(path: str) -> RedirectResponse:
    """Send a browser on to a page, by GET."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})


def safe_next(request: Request, given: str) -> str:
    """Return a path of this console that a link asked for; the first page where it is anything else."""
    is_path = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if is_path and "\\" not in given and not given.startswith(request.url.path) else "/"
