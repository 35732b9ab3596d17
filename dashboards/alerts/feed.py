"""Changes of alerts to open pages: the notifier may be another process, so a console asks the office for what changed.

It asks once a second for what came after the number of the change that it saw last, which is one look into an index.
"""

from __future__ import annotations

import asyncio
import logging

from dashboards.alerts.desk import Desk
from dashboards.alerts.view import view
from dashboards.people.rights import Right
from dashboards.stream import Hub
from domain.errors import OfficeUnavailable
from domain.wire import encode

EVENT = "alert"
EVERY_S = 1.0

log = logging.getLogger(__name__)


class Feed:
    """Tells each watcher who asked for event `alert` what changed, as `dashboards.alerts.view.AlertView`.

    Args:
        desk: Knows alerts.
        hub: Tells watchers.
    """

    def __init__(self, desk: Desk, hub: Hub) -> None:
        self._desk, self._hub = desk, hub
        self._seen: int | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._turn()
            except OfficeUnavailable as error:
                log.warning("console: alerts: %s; trying again in %g s", error, EVERY_S)
            await asyncio.sleep(EVERY_S)

    async def _turn(self) -> None:
        if self._seen is None or not self._hub.watchers:
            self._seen = await self._desk.last_change()  # a page that opens later is drawn with what is then
            return
        self._seen, changed = await self._desk.changes(self._seen)
        for alert in changed:
            self._hub.tell(EVENT, encode(view(alert)), Right.ALERT_SEE, self._desk.place(alert))
