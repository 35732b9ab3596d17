"""The page: the fleet worst first, open findings, a live picture. Drawn here, kept up to date by one small script.

Names of recorders and texts in findings are hostile input: the templates escape everything, and the policy below
lets no script, style or address run that is not a file of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import msgspec
from fastapi import APIRouter, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboards.problem import Missing, ProblemRoute
from dashboards.projection import Fleet
from dashboards.recorder import OpenFinding, Recorder
from dashboards.view import RecorderView, condition, worst_first
from dashboards.words import LANGUAGES, Words, words
from domain.clock import Clock, Instant

MAX_ROWS = 200
MAX_FINDINGS = 100
"""More are in the API; a person looks at the worst first."""
FIRST_STORED_S = 120.0

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}

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


def page_router(fleet: Fleet, clock: Clock, ready: Callable[[], bool]) -> APIRouter:
    """Make the router of the page, its parts and its files.

    Args:
        fleet: What is shown.
        clock: The time at which ages are taken.
        ready: Tells whether the projection has caught up.
    """
    router = APIRouter(route_class=ProblemRoute, include_in_schema=False)
    environment = Environment(loader=PackageLoader("dashboards"), autoescape=True, undefined=StrictUndefined)
    environment.filters["ms"] = int
    whole, part = environment.get_template("page.html"), environment.get_template("fleet.html")

    def drawn(language: str | None, recorder: str | None = None) -> dict[str, Any]:
        return _context(fleet, clock.now(), words(language), recorder) | {"ready": ready()}

    @router.get("/")
    async def page(lang: str | None = None, recorder: str | None = None) -> Response:
        return Response(whole.render(drawn(lang, recorder)), media_type="text/html; charset=utf-8", headers=HEADERS)

    @router.get("/parts/fleet")
    async def fleet_part(lang: str | None = None) -> Response:
        return Response(part.render(drawn(lang)), media_type="text/html; charset=utf-8", headers=HEADERS)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise Missing(f"no file {name}")
        content = resources.files("dashboards").joinpath("static", name).read_bytes()
        headers = HEADERS | {"Cache-Control": "no-cache"}
        return Response(content, media_type=STATIC[name], headers=headers)

    return router


def _context(fleet: Fleet, now: Instant, w: Words, chosen: str | None) -> dict[str, Any]:
    recorders = list(fleet.shown())
    views = worst_first(recorders, now, MAX_ROWS)
    lines = _lines(recorders, now, w)
    return {
        "w": w,
        "other": next(code for code in LANGUAGES if code != w.code),
        "now": int(now),
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
