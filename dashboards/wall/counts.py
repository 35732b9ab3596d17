"""The figures above the wall: of all recorders that somebody may see, and of each unit and site. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dashboards.wall.tile import Tile

MAX_PLACES = 24
"""Units, and sites, that are listed, worst first; the rest is found by the filter."""


class Count(msgspec.Struct):
    """How many recorders of a place are how. One recorder may count as several: live and lagging and low."""

    place: str = ""
    recorders: int = 0
    live: int = 0
    silent: int = 0
    lagging: int = 0
    low: int = 0
    critical: int = 0
    warning: int = 0

    def add(self, tile: Tile) -> None:
        """Count one more."""
        self.recorders += 1
        self.live += tile.state == "live"
        self.silent += tile.state == "silent"
        self.lagging += tile.lagging_since is not None
        self.low += bool(tile.low)
        self.critical += tile.counts[0]
        self.warning += tile.counts[1]


class Counts(msgspec.Struct, frozen=True):
    """All of them.

    Attributes:
        total: Everywhere.
        units: The worst `MAX_PLACES` units.
        sites: The worst `MAX_PLACES` sites.
        lagging_since: The oldest moment that is late for the store, ms.
    """

    total: Count
    units: list[Count]
    sites: list[Count]
    lagging_since: int | None


def count(tiles: Iterable[Tile]) -> Counts:
    """Count them."""
    total, units, sites = Count(), dict[str, Count](), dict[str, Count]()
    oldest: int | None = None
    for tile in tiles:
        total.add(tile)
        for place, known in ((tile.unit_id, units), (tile.site_id, sites)):
            if place:
                known.setdefault(place, Count(place)).add(tile)
        if tile.lagging_since is not None:
            oldest = tile.lagging_since if oldest is None else min(oldest, tile.lagging_since)
    return Counts(total, _worst(units), _worst(sites), oldest)


def _worst(places: dict[str, Count]) -> list[Count]:
    ranked = sorted(
        places.values(), key=lambda one: (-one.critical, -one.silent, -one.warning, -one.lagging, one.place)
    )
    return ranked[:MAX_PLACES]
