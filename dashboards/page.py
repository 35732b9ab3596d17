"""The page: the fleet worst first, open findings, a live picture. Drawn here, kept up to date by one small script."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from dashboards.parts import Parts
from dashboards.people.guard import declare
from dashboards.people.rights import Right
from dashboards.projection import Fleet
from dashboards.recorder import OpenFinding, Recorder
from dashboards.view import RecorderView, condition, worst_first
from dashboards.words import Words
from domain.clock import Instant

MAX_ROWS = 200
MAX_FINDINGS = 100
"""More are in the API; a person looks at the worst first."""
FIRST_STORED_S = 120.0

_SEVERITIES = {"critical": 0, "warning": 1, "info": 2}


class Row(msgspec.Struct, frozen=True):
    """One line of the table."""

    view: RecorderView
    media_age_s: float
    findings: int
    completeness: float | None


class Line(msgspec.Struct, frozen=True):
    """One open finding, in words."""

    id: str
    severity: str
    text: str
    name: str
    began_at: int
    age_s: float
    clauses: list[str]


class Summary(msgspec.Struct, frozen=True):
    """The figures at the top."""

    recorders: int
    recording: int
    critical: int
    warning: int
    lag_s: float
    oldest_missing_at: int | None
    pending_bytes: int


def page_router(parts: Parts) -> APIRouter:
    """Make the router of the page and its parts."""
    router = parts.guard.router(in_schema=False)

    def drawn(request: Request, template: str, recorder: str | None = None) -> Response:
        context = _context(parts.fleet, parts.clock.now(), parts.shell.words(request), recorder)
        return parts.shell.page(request, template, ready=parts.ready(), **context)

    @router.get("/")
    @declare(Right.FLEET_SEE)
    async def page(request: Request, recorder: str | None = None) -> Response:
        return drawn(request, "page.html", recorder)

    @router.get("/parts/fleet")
    @declare(Right.FLEET_SEE)
    async def fleet_part(request: Request) -> Response:
        return drawn(request, "fleet.html")

    return router


def _context(fleet: Fleet, now: Instant, w: Words, chosen: str | None) -> dict[str, Any]:
    recorders = list(fleet.shown())
    views = worst_first(recorders, now, MAX_ROWS)
    lines = _lines(recorders, now, w)
    return {
        "rows": [_row(each, now) for each in views],
        "hidden_rows": len(recorders) - len(views),
        "findings": lines[:MAX_FINDINGS],
        "hidden_findings": max(0, len(lines) - MAX_FINDINGS),
        "summary": _summary(recorders, now),
        "chosen": chosen if chosen in fleet.recorders else _worth_watching(views),
    }


def _row(view: RecorderView, now: Instant) -> Row:
    age_s = 0.0 if view.last_media_at is None else (now - view.last_media_at) / 1000
    # In its first minutes nothing of a recording is due in the store yet: "0 %" would alarm for nothing.
    young = not view.completeness_ratio and view.upload_lag_s < FIRST_STORED_S
    return Row(view, age_s, sum(view.open_findings.values()), None if young else view.completeness_ratio)


def _lines(recorders: list[Recorder], now: Instant, w: Words) -> list[Line]:
    pairs = [(recorder, finding) for recorder in recorders for finding in recorder.findings.values()]
    pairs.sort(key=lambda pair: (_SEVERITIES[pair[1].severity], -pair[1].began_at, pair[1].id))
    return [_line(recorder, finding, now, w) for recorder, finding in pairs]


def _line(recorder: Recorder, finding: OpenFinding, now: Instant, w: Words) -> Line:
    return Line(
        finding.id,
        finding.severity,
        w.finding(finding.key, finding.kind, finding.params),
        recorder.name or recorder.recorder_id,
        finding.began_at,
        (now - finding.began_at) / 1000,
        finding.clauses,
    )


def _summary(recorders: list[Recorder], now: Instant) -> Summary:
    conditions = [condition(recorder, now) for recorder in recorders]
    oldest = min((at for r in recorders if (at := r.oldest_missing_at) is not None), default=None)
    return Summary(
        recorders=len(recorders),
        recording=sum(recorder.is_live(now) for recorder in recorders),
        critical=conditions.count("critical"),
        warning=conditions.count("warning"),
        lag_s=0.0 if oldest is None else max(0, now - oldest) / 1000,
        oldest_missing_at=oldest,
        pending_bytes=sum(recorder.pending_bytes for recorder in recorders),
    )


def _worth_watching(views: list[RecorderView]) -> str:
    """Return the first recorder of which media came lately; empty where there is none."""
    live = (view.recorder_id for view in views if view.live)
    return next(live, "")
