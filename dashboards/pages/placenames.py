"""What people call units and sites: pages say names, rights and addresses go by ids."""

from __future__ import annotations

import asyncio
import logging

from domain.errors import Unavailable
from storage.office import premises, units
from storage.office.office import Office

EVERY_S = 5.0
"""How soon a new name is on the pages."""
_log = logging.getLogger(__name__)


class PlaceNames:
    """Names as they stood a moment ago; an id that has none is its own name.

    Args:
        office: Where they are entered.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._known: dict[str, str] = {}

    def __call__(self, place_id: str) -> str:
        """Return the name of a unit or a site."""
        return self._known.get(place_id) or place_id

    async def look(self) -> None:
        """Read them anew.

        Raises:
            OfficeUnavailable: Those from before stay.
        """
        sites = {site.site_id: site.name for site in await premises.all_sites(self._office)}
        self._known = sites | await units.names(self._office)

    async def run(self) -> None:
        """Read them again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("names of units and sites: %s", error)
            await asyncio.sleep(EVERY_S)
