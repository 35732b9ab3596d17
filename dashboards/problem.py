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
    409: "Conflict",
    422: "Invalid input",
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


def problem(status: int, detail: str, field: str = "", headers: dict[str, str] | None = None) -> Response:
    """Return `application/problem+json` with `title`, `status`, `detail` and, where one is to blame, `field`."""
    body: dict[str, str | int] = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    if field:
        body["field"] = field
    content = msgspec.json.encode(body)
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


class ProblemRoute(APIRoute):
    """A route that answers our own errors and FastAPI's as problems, whatever application it is part of."""

    async def before(self, request: Request) -> None:
        """Run before the route's own function; what it raises is answered as the function's errors are."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                await self.before(request)
                return await handler(request)
            except InvalidInput as error:
                return problem(422, str(error), error.field)
            except NotSignedIn as error:
                return _sign_in(request, str(error))
            except Forbidden as error:
                return problem(403, str(error))
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

        return guarded


def _sign_in(request: Request, detail: str) -> Response:
    """Send a browser that opens a page to the sign-in page, and everybody else a 401."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        there = urlencode({"next": request.url.path + (f"?{request.url.query}" if request.url.query else "")})
        return RedirectResponse(f"{SIGN_IN}?{there}", status_code=303, headers={"Cache-Control": "no-store"})
    return problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _refused(error: RequestValidationError) -> Response:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, f"{field}: {first['msg']}", field)
