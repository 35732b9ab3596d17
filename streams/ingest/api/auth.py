"""Who is calling: the bearer token of one recorder (RFC 6750)."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from domain.clock import SystemClock
from domain.errors import InvalidInput, NotActive, NotAuthorized, Unavailable
from domain.ids import check_recorder_id
from domain.registry import Registration
from streams.ingest.api.problems import Problem
from streams.ingest.ports import IngestPort

_MAX_TOKEN_CHARS: Final = 1024
_clock: Final = SystemClock()


def authenticate(request: Request, ingest: IngestPort) -> Registration:
    """Return the registration of the recorder in the path, if the token is its own and it is activated.

    Raises:
        NotAuthorized: No token, or not this recorder's.
        Problem: 404, no such recorder; told only to those who bring a token.
        NotActive: Registered, but not activated, suspended or retired; told only to the recorder itself.
        Unavailable: One of the latter three, but the log may say otherwise: it has not been read yet.
    """
    return authenticate_as(request, ingest, request.path_params["recorder_id"])


def authenticate_as(request: Request, ingest: IngestPort, recorder_id: str) -> Registration:
    """Do the same where the recorder is named elsewhere than in the path; raises as `authenticate` does."""
    token = bearer_token(request)
    try:
        check_recorder_id(recorder_id)
    except InvalidInput as error:
        raise Problem(404, "no such recorder", field="recorder_id") from error
    try:
        return _accept(ingest.registration(recorder_id), token)
    except (Problem, NotAuthorized, NotActive) as refusal:
        if ingest.knows_registrations:
            raise
        msg = "the registrations are still being read from the log"
        raise Unavailable(msg) from refusal


def _accept(registration: Registration | None, token: str) -> Registration:
    if registration is None:
        raise Problem(404, "no such recorder", field="recorder_id")
    if not registration.accepts(token, _clock.now()):
        msg = "not the token of this recorder"
        raise NotAuthorized(msg)
    if registration.state != "active":
        msg = f"recorder is {registration.state}, not active"
        raise NotActive(msg)
    return registration


def bearer_token(request: Request) -> str:
    """Return the token of the `Authorization` header.

    Raises:
        NotAuthorized: None there, another scheme, or beyond any length in use.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN_CHARS:
        msg = "needs `Authorization: Bearer` with the token of this recorder"
        raise NotAuthorized(msg)
    return token
