"""The webhook of Prometheus' Alertmanager (version 4): its alerts stand in the same list as what the detectors find."""

from __future__ import annotations

import hmac
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from dashboards.alerts.api import NO_NUL
from dashboards.alerts.book import Book
from dashboards.alerts.signal import Signal, digest
from dashboards.parts import Parts
from dashboards.people.guard import declare
from dashboards.people.rights import Right
from dashboards.problem import NotSignedIn
from domain.alerts import AlertFinding
from domain.clock import Clock, Instant
from domain.errors import InvalidInput
from domain.findings import Severity
from storage.secrets import read_secret

WATCHDOG = "LiuhenWatchdog"
"""Always fires, so that silence is heard; it is nobody's matter."""
_SEVERITIES: dict[str, Severity] = {"critical": "critical", "page": "critical", "warning": "warning", "info": "info"}

MAX_NAME = 200
MAX_OWNER = 40

Text = Annotated[str, Meta(max_length=4000, pattern=NO_NUL)]


class Alarm(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of Alertmanager.

    Attributes:
        status: firing or resolved.
        labels: What it is.
        fingerprint: Of its labels.
        starts_at: When it began to fire.
        ends_at: When it ended, or would.
        annotations: What is said of it.
    """

    status: str
    labels: dict[str, Text]
    fingerprint: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,64}\Z")]
    starts_at: Text
    ends_at: Text = ""
    annotations: dict[str, Text] = {}


class Webhook(msgspec.Struct, frozen=True):
    """What Alertmanager posts."""

    alerts: Annotated[list[Alarm], Meta(max_length=1000)]


_decoder = msgspec.json.Decoder(Webhook)


def signal_of(alarm: Alarm, now: Instant) -> Signal | None:
    """Return what an alarm signals; None for the one that always fires.

    Raises:
        InvalidInput: Its time is none.
    """
    name = alarm.labels.get("alertname", "")
    if name == WATCHDOG or alarm.labels.get("severity") == "none":
        return None
    try:
        began = Instant.parse(alarm.starts_at)
    except ValueError as error:
        raise InvalidInput("startsAt: not RFC 3339", "startsAt") from error
    is_over = alarm.status == "resolved"
    owner = alarm.labels.get("owner", "")[:MAX_OWNER]
    about = AlertFinding(
        id=digest("alertmanager", alarm.fingerprint, str(int(began))),
        recorder_id=name[:MAX_NAME] or alarm.fingerprint,
        kind="system",
        status="closed" if is_over else "opened",
        severity=_SEVERITIES.get(alarm.labels.get("severity", ""), "warning"),
        began_at=int(began),
        ended_at=int(now) if is_over else None,
        detected_at=int(now) if is_over else int(began),
        key=name[:MAX_NAME],
    )
    return Signal(
        about=about,
        family="system",
        scope="source",
        name=f"{alarm.fingerprint}@{owner if owner.isalpha() else ''}",
        site_id=alarm.labels.get("site", "")[:MAX_NAME],
        runbook=alarm.annotations.get("runbook", ""),
        summary=alarm.annotations.get("summary", "") or name,
    )


def alertmanager_router(parts: Parts, book: Book) -> APIRouter:
    """Make the router of `POST /api/v1/alertmanager`."""
    router = parts.guard.router("/api/v1")
    token_file = parts.settings.alertmanager_token_file
    token = read_secret(token_file, "alertmanager_token_file") if token_file else ""

    # Public to the door, which knows people and integrations: its token is this program's own.
    @router.post("/alertmanager", status_code=202)
    @declare(Right.PUBLIC)
    async def alertmanager(request: Request) -> Response:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token or not hmac.compare_digest(shown.encode(), token.encode()):
            raise NotSignedIn("the token of alertmanager_token_file is needed")
        await _take(book, await request.body(), parts.clock)
        return Response(status_code=202)

    return router


async def _take(book: Book, body: bytes, clock: Clock) -> None:
    try:
        alarms = _decoder.decode(body).alerts
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"not a webhook of Alertmanager: {error}") from error
    now = clock.now()
    signals = [signal for alarm in alarms if (signal := signal_of(alarm, now)) is not None]
    if signals:
        await book.take(signals, int(now))
