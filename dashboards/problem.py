"""Errors of the console's HTTP interface as RFC 9457 problem documents that name the field."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from domain.errors import IntegrityError, InvalidInput, LiuhenError, Unavailable

_TITLES = {
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    422: "Invalid input",
    429: "Too many attempts",
    502: "Not what was stored",
    503: "Not available",
}


SIGN_IN = "/sign-in"


class Missing(LiuhenError):
    """What was asked for is not there, or not for whoever asks."""


class NotSignedIn(LiuhenError):
    """Nobody is signed in: 401, or the sign-in page for somebody who opens a page."""


class Forbidden(LiuhenError):
    """Somebody is signed in, and may not."""


class First(LiuhenError):
    """Somebody must do something else first: 403, or the page where it is done for somebody who opens a page.

    Args:
        path: Of that page.
        message: What it is.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def problem(status: int, detail: str, field: str = "", headers: dict[str, str] | None = None) -> Response:
    """Return `application/problem+json` with `title`, `status`, `detail` and, where one is to blame, `field`."""
    body: dict[str, str | int] = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    if field:
        body["field"] = field
    content = msgspec.json.encode(body)
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


class ProblemRoute(APIRoute):
    """A route that answers our own errors and FastAPI's as problems, whatever application it is part of."""

    async def before(self, request: Request) -> Request:
        """Run before the route's own function, which gets what it returns; what it raises is answered as the others."""
        return request

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handler = super().get_route_handler()

        async def sealed(request: Request) -> Response:
            answer = await guarded(request)
            answer.headers.setdefault("X-Content-Type-Options", "nosniff")
            answer.headers.setdefault("Cache-Control", "no-store")
            return answer

        async def guarded(request: Request) -> Response:
            try:
                return await handler(await self.before(request))
            except InvalidInput as error:
                return problem(422, str(error), error.field)
            except (NotSignedIn, First, Forbidden) as error:
                return _kept_out(request, error)
            except Missing as error:
                return problem(404, str(error))
            except IntegrityError as error:
                return problem(502, str(error))
            except Unavailable as error:
                return problem(503, str(error), headers={"Retry-After": "2"})
            except RequestValidationError as error:
                return _refused(error)
            except HTTPException as error:
                return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

        return sealed


def _kept_out(request: Request, error: NotSignedIn | First | Forbidden) -> Response:
    """Send a browser that opens a page to where it gets on, and say 401 or 403 to everybody else."""
    path = ""
    if isinstance(error, First):
        path = error.path
    elif isinstance(error, NotSignedIn):
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        path = f"{SIGN_IN}?{urlencode({'next': there})}"
    if path and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
    if isinstance(error, NotSignedIn):
        return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
    return problem(403, str(error))


def _refused(error: RequestValidationError) -> Response:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, f"{field}: {first['msg']}", field)
