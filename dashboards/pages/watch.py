"""The banner of every page: who is dead, as the watch sees it; a part that pages ask for again and again."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from dashboards.pages.shell import Shell
from dashboards.people.guard import Guard, declare
from dashboards.people.rights import Right
from dashboards.watch.seen import Seen
from dashboards.watch.telling import say
from dashboards.watch.view import WatchView
from dashboards.words import Words
from domain.clock import Instant


def watch_banner_router(guard: Guard, shell: Shell, seen: Seen) -> APIRouter:
    """Make the router of `GET /watch`: the lines of the banner, none when all are well."""
    router = guard.router(in_schema=False)

    @router.get("/watch")
    @declare(Right.SIGNED_IN)
    async def watch(request: Request) -> Response:
        view = await seen.seen()
        return shell.page(request, "watch.html", lines=_lines(view, shell.words(request)))

    return router


def _lines(view: WatchView, w: Words) -> list[tuple[str, Instant | None]]:
    """Return each line and since when; what the watch last said stands under the line that it is gone."""
    lines: list[tuple[str, Instant | None]] = []
    if view.away:
        since = "" if view.away_since is None else w.clock(view.away_since)
        lines.append((w("watch", "away", since=since), view.away_since))
    ill = [(say(one, w), one.since) for one in view.ill]
    lines += [(f"{w('watch', 'away_last')} {text}", since) for text, since in ill] if view.away else ill
    if view.telling:
        lines.append((w("watch", "telling", why=view.telling), None))
    return lines
