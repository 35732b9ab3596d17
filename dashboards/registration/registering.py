"""What runs beside the pages of registration: the log kept as the office has it, and who has which recorder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dashboards.registration.holders import Holders
from dashboards.registration.registrar import Registrar
from domain.bus import Bus
from domain.clock import Clock
from storage.office.office import Office

AGAIN_S = 5.0
_log = logging.getLogger(__name__)


class Registering:
    """See the module.

    Args:
        bus: The log, started.
        office: What people entered.
        clock: The time.

    Attributes:
        registrar: Tells the log.
        holders: Knows who has which recorder.
    """

    def __init__(self, bus: Bus, office: Office, clock: Clock) -> None:
        self.registrar = Registrar(bus, office, clock)
        self.holders = Holders(office)

    async def run(self) -> None:
        """Do both until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(_kept_up(self.registrar.run), name="registrar")
            jobs.create_task(_kept_up(self.holders.run), name="holders")


async def _kept_up(job: Callable[[], Awaitable[None]]) -> None:
    """Run a job again when it breaks: a fault of ours must not end what the pages show."""
    while True:
        try:
            await job()
        except Exception:
            _log.exception("registering")
        await asyncio.sleep(AGAIN_S)
