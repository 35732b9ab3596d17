"""The wall: all recorders that somebody may see, worst first, on the desk and on the big screen."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from fastapi import APIRouter, Request, Response

from dashboards.parts import Parts
from dashboards.people.guard import SignedIn, declare
from dashboards.people.rights import Person, Right
from dashboards.wall.board import Shown
from dashboards.wall.wall import Wall, look

MAX_PICTURES = {"row": 4, "tile": 2}
"""Live pictures at once: a picture asks for its parts by itself, and a browser opens six connections to a place."""
MAX_TEXT = 100

_TEMPLATES = {"row": "wall.html", "tile": "bigscreen.html"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the page is narrowed to, empty for all; and the recorder whose live picture is asked for."""

    unit: str = ""
    site: str = ""
    state: str = ""
    text: str = ""
    recorder: str = ""

    def takes(self, one: Shown) -> bool:
        """Tell whether a tile is meant; the script of the page asks the same of each row."""
        tile = one.tile
        words: set[str] = {tile.state}
        words |= {"lagging"} if tile.lagging_since is not None else set()
        words |= {"low"} if tile.low else set()
        words |= {"alert"} if tile.counts[0] or tile.counts[1] else set()
        said = f"{tile.name} {tile.recorder_id} {tile.unit_id} {tile.site_id}".lower()
        return (
            self.unit in ("", tile.unit_id)
            and self.site in ("", tile.site_id)
            and (not self.state or self.state in words)
            and self.text.strip().lower() in said
        )


def wall_router(parts: Parts, wall: Wall) -> APIRouter:
    """Make the router of the wall and the big screen."""
    router = parts.guard.router(in_schema=False)

    def drawn(request: Request, person: Person, form: str, asked: Asked) -> Response:
        wall.board.look(parts.clock.now())
        mine = wall.board.all(person)
        how = look(parts.shell.words(request).code, form)
        # Without a script the page shows what was asked for; with one it has all rows, and hides the others.
        rows = [wall.row(one, how) for one in mine if asked.takes(one)]
        return parts.shell.page(
            request,
            _TEMPLATES[form],
            ready=parts.ready(),
            asked=asked,
            rows=rows,
            version=wall.version if len(rows) == len(mine) else wall.nothing,
            summary=wall.summary(mine, how),
            troubles=wall.troubles(mine, how),
            units=sorted({one.tile.unit_id for one in mine if one.tile.unit_id}),
            sites=sorted({one.tile.site_id for one in mine if one.tile.site_id}),
            pictures=_worth_watching(mine, person, MAX_PICTURES[form], asked.recorder),
            may_watch=person.may(Right.FOOTAGE_LIVE),
        )

    @router.get("/")
    @declare(Right.FLEET_SEE)
    async def desk(
        request: Request,
        person: SignedIn,
        *,
        unit: str = "",
        site: str = "",
        state: str = "",
        text: str = "",
        recorder: str = "",
    ) -> Response:
        asked = Asked(unit=unit, site=site, state=state, text=text[:MAX_TEXT], recorder=recorder)
        return drawn(request, person, "row", asked)

    @router.get("/wall")
    @declare(Right.FLEET_SEE)
    async def big_screen(request: Request, person: SignedIn) -> Response:
        return drawn(request, person, "tile", Asked())

    return router


def _worth_watching(mine: Sequence[Shown], person: Person, limit: int, asked: str) -> list[str]:
    """Return the recorder that was asked for, and the worst ones of which media comes."""
    theirs = [one.tile for one in mine if person.may_at(Right.FOOTAGE_LIVE, one.place)]
    wanted = [tile.recorder_id for tile in theirs if tile.recorder_id == asked]
    live = [tile.recorder_id for tile in theirs if tile.state == "live" and tile.recorder_id != asked]
    return [*wanted, *live][:limit]
