"""Errors of the HTTP interface as RFC 9457 problem documents that name the field."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from domain.errors import InvalidInput, LiuhenError, Unavailable

_TITLES = {400: "Bad request", 404: "Not found", 409: "Conflict", 422: "Invalid input", 503: "Not available"}


def problem(status: int, detail: str, field: str = "", headers: dict[str, str] | None = None) -> Response:
    """Return `application/problem+json` with `title`, `status`, `detail` and, where one is to blame, `field`."""
    body: dict[str, str | int] = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    if field:
        body["field"] = field
    content = msgspec.json.encode(body)
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


class Missing(LiuhenError):
    """What was asked for is not there."""


def install(app: FastAPI) -> None:
    """Answer our own errors, FastAPI's and Starlette's as problems. 5xx of our own making stay bare."""

    async def invalid(_request: Request, error: InvalidInput) -> Response:
        return problem(422, str(error), error.field)

    async def unavailable(_request: Request, error: Unavailable) -> Response:
        return problem(503, str(error), headers={"Retry-After": "2"})

    async def missing(_request: Request, error: Missing) -> Response:
        return problem(404, str(error))

    async def refused(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return problem(422, f"{field}: {first['msg']}", field)

    async def other(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    handlers: list[tuple[type[Exception], object]] = [
        (InvalidInput, invalid),
        (Unavailable, unavailable),
        (Missing, missing),
        (RequestValidationError, refused),
        (HTTPException, other),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, _handler(handler))


def _handler(handler: object) -> ExceptionHandler:
    # Starlette types handlers by the root of all exceptions; each is registered for its own kind only.
    return handler  # type: ignore[return-value]
