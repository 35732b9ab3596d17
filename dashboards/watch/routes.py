"""What the watch answers: how everybody is, to consoles; and it takes the alert that always fires, from Alertmanager.

Where `watch_token_file` is set, both ask for its token (`Authorization: Bearer …`).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from dashboards.watch.watch import Watch
from domain import wire

ALERT = "LiuhenWatchdog"
EVALUATED = "evaluated"
"""Annotation of that alert: when its rule was evaluated, seconds since 1970."""
MAX_BODY_BYTES = 262_144

Endpoint = Callable[[Request], Awaitable[Response]]


class Alert(msgspec.Struct, frozen=True):
    """One alert of Alertmanager's webhook (version 4), as far as it is looked at."""

    status: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Webhook(msgspec.Struct, frozen=True):
    """What Alertmanager posts."""

    alerts: list[Alert]


_webhook = msgspec.json.Decoder(Webhook)


def watch_router(watch: Watch, token: str = "") -> Router:
    """Make the router: `GET /watch` and `POST /watchdog`.

    Args:
        watch: Who knows.
        token: What both ask for; nothing where empty.
    """

    async def view(_: Request) -> Response:
        return Response(wire.encode(watch.view), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def watchdog(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return Response("too large\n", status_code=413)
        return _take(watch, body)

    def guarded(endpoint: Endpoint) -> Endpoint:
        async def ask_first(request: Request) -> Response:
            shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token and not hmac.compare_digest(shown.encode(), token.encode()):
                return Response("a token is needed\n", status_code=401, headers={"WWW-Authenticate": "Bearer"})
            return await endpoint(request)

        return ask_first

    return Router([Route("/watch", guarded(view)), Route("/watchdog", guarded(watchdog), methods=["POST"])])


def _take(watch: Watch, body: bytes) -> Response:
    try:
        alerts = _webhook.decode(body).alerts
    except (msgspec.DecodeError, RecursionError):
        return Response("not a webhook of Alertmanager\n", status_code=422)
    for alert in alerts:
        if alert.labels.get("alertname") == ALERT and alert.status == "firing":
            watch.beat(_seconds(alert.annotations.get(EVALUATED, "")))
    return Response(status_code=204)


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
