"""Errors as devices see them: problem details (RFC 9457), one place where our exceptions become status codes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from domain.errors import InvalidInput, NotActive, NotAuthorized, Unavailable

Handler = Callable[[Request], Awaitable[Response]]

RETRY_AFTER_S: Final = 5
"""What a device waits when we are full or the log is away; it keeps what it has and comes again."""

_log = logging.getLogger(__name__)

_TITLES: Final = {
    400: "Unreadable request",
    401: "Not authenticated",
    403: "Recorder not activated",
    404: "Not found",
    408: "Request took too long",
    409: "Conflict",
    410: "Gone",
    412: "Precondition failed",
    413: "Request too large",
    415: "Unsupported media type",
    421: "Begun elsewhere",
    422: "Unacceptable content",
    423: "Locked",
    460: "Checksum mismatch",
    500: "Internal error",
    503: "Temporarily unavailable",
    507: "No room",
}


class Problem(Exception):
    """An answer other than success.

    Args:
        status: HTTP status code.
        detail: What is wrong with this very request, in words.
        field: Path of the field that is wrong, such as `[3].battery_percent`; empty where none is.
        headers: More response headers.
        more: More members of the problem object.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> Response:
        """Return it as `application/problem+json`."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.field:
            body["field"] = self.field
        body.update(self.more)
        return Response(
            msgspec.json.encode(body), self.status, headers=self.headers, media_type="application/problem+json"
        )


def unavailable(detail: str) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def as_problem(error: Exception) -> Problem | None:
    """Translate an exception raised on purpose; None for any other."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidInput):
        return Problem(422, str(error), field=error.field)
    if isinstance(error, NotAuthorized):
        return Problem(401, str(error), headers={"WWW-Authenticate": 'Bearer realm="liuhen"'})
    if isinstance(error, NotActive):
        return Problem(403, str(error))
    if isinstance(error, Unavailable):
        return unavailable(str(error))
    return None


def answers_problems(handler: Handler) -> Handler:
    """Wrap a handler so that whatever goes wrong is answered as a problem, and a bug as a bare 500 that is logged."""

    @functools.wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            problem = as_problem(error)
            if problem is None:
                _log.exception("%s %s failed", request.method, request.url.path)
                problem = Problem(500, "this is our fault; it has been logged")
            return problem.response()

    return guarded
