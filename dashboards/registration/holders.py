"""To whom recorders were handed out, as every request asks it: a picture of the ledger, a few seconds old at most."""

from __future__ import annotations

import asyncio
import logging

from domain.clock import Instant
from domain.errors import Unavailable
from storage.office import recorders
from storage.office.office import Office
from storage.office.recorders import Holder

EVERY_S = 3.0
_log = logging.getLogger(__name__)


class Holders:
    """See the module; `of` is a `dashboards.parts.Officers`.

    Args:
        office: Where the ledger is.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._held: dict[str, list[Holder]] = {}

    def of(self, recorder_id: str, at: Instant) -> frozenset[str]:
        """Return the accounts that had a recorder at a moment."""
        held = self._held.get(recorder_id, ())
        return frozenset(one.account_id for one in held if one.since <= at and (one.until is None or at < one.until))

    async def look(self) -> None:
        """Read the ledger anew.

        Raises:
            OfficeUnavailable: It does not answer; what was read last holds.
        """
        held: dict[str, list[Holder]] = {}
        for one in await recorders.holders(self._office):
            held.setdefault(one.recorder_id, []).append(one)
        self._held = held

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("holders: %s", error)
            await asyncio.sleep(EVERY_S)
