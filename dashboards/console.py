"""The console put together: one object per process, given the log, the catalogue and a place for its state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from starlette.routing import Router

from dashboards.alerts.alertmanager import alertmanager_router
from dashboards.alerts.api import alerts_api
from dashboards.alerts.arrange import Arrangements
from dashboards.alerts.arrange_api import arrangements_router
from dashboards.alerts.desk import desk_of
from dashboards.alerts.feed import Feed
from dashboards.api import api_router
from dashboards.deadlines import Deadlines
from dashboards.explaining.api import explanations_api
from dashboards.explaining.desk import ExplanationDesk
from dashboards.footage.granted import Granted
from dashboards.health import health_router
from dashboards.hls.live import LivePictures
from dashboards.hls.playback import Recordings
from dashboards.hls.routes import live_router, stored_router
from dashboards.hls.views import Views
from dashboards.holding.api import holds_api
from dashboards.metrics import FleetCollector
from dashboards.openapi import openapi_router
from dashboards.pages.alerts import alert_pages_router
from dashboards.pages.arrangements import arrangements_pages
from dashboards.pages.explanations import explanations_router
from dashboards.pages.footage import Footage
from dashboards.pages.holds import holds_router
from dashboards.pages.people import people_routers
from dashboards.pages.placenames import PlaceNames
from dashboards.pages.recordings import recordings_router
from dashboards.pages.registration import registration_routers
from dashboards.pages.shell import Shell, static_router
from dashboards.pages.supervision import supervision_router
from dashboards.pages.supervision_leads import leads_api, leads_router
from dashboards.pages.wall import wall_router
from dashboards.pages.watch import watch_banner_router
from dashboards.parts import Parts
from dashboards.people.audit import Audit
from dashboards.people.guard import Door, Guard
from dashboards.people.playing import Playing
from dashboards.people.rights import Place
from dashboards.people.viewing import AccessLog
from dashboards.project import Projector
from dashboards.projection import Change
from dashboards.registration.registering import Registering
from dashboards.stream import Hub
from dashboards.wall.wall import Wall
from dashboards.watch.seen import Seen
from domain.bus import Bus
from domain.clock import Clock
from domain.errors import BusUnavailable
from domain.events import Integrity, IntegrityFault
from domain.probe import Probe
from domain.settings import Settings
from domain.topics import EVENTS
from domain.wire import encode
from policies.local import Rulebook, default
from storage.catalog.catalog import Catalog
from storage.ledger.ledger import Ledger
from storage.objects.port import ObjectStore
from storage.office.office import Office

log = logging.getLogger(__name__)


class Console:
    """What `liuhen console` and `liuhen up` run.

    Args:
        bus: The log, started.
        catalog: Sessions, findings and segments.
        clock: The time.
        state: File of the projection's saved state, this console's own.
        registry: Where the fleet's metrics are registered.
        store: Stored footage, for playback.
        ledger: The custody ledger, which is told of every act and access before it takes effect.
        office: What people enter and decide.
        door: Finds out who asks.
        settings: Of this installation.
        book: The policies in force; those of the package alone where absent.
        probe: Looks at the addresses of cameras that are being registered; nobody does where absent.
    """

    def __init__(
        self,
        bus: Bus,
        catalog: Catalog,
        clock: Clock,
        state: Path,
        registry: CollectorRegistry,
        *,
        store: ObjectStore,
        ledger: Ledger,
        office: Office,
        door: Door,
        settings: Settings | None = None,
        book: Rulebook | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._registry, self._bus, self._clock = registry, bus, clock
        self.projector = Projector(bus, clock, state, catalog, self._changed)
        self.fleet = self.projector.fleet
        self._names = PlaceNames(office)
        shell = Shell(clock, self._names)
        self.wall = Wall(self.fleet, clock, shell, self._place)
        self.hub = Hub(self.fleet, clock, self._place, self.wall)
        self.pictures = LivePictures(bus, clock)
        self.registering = Registering(bus, office, clock)
        self.parts = Parts(
            settings=settings or Settings(),
            book=book or default(),
            clock=clock,
            bus=bus,
            fleet=self.fleet,
            hub=self.hub,
            ready=self.projector.ready.is_set,
            pictures=self.pictures,
            catalog=catalog,
            store=store,
            ledger=ledger,
            office=office,
            guard=Guard(door),
            audit=Audit(ledger, clock),
            shell=shell,
            officers=self.registering.holders.of,
            probe=probe,
        )
        self._views = Views(store, Path(self.parts.settings.work) / "views")
        self._recordings = Recordings(catalog, store, self._tell, self._views)
        self._playing = Playing(self.parts.place, Granted(office), clock)
        self.footage = Footage(self.parts)
        self.desk = desk_of(self.parts)
        self.feed = Feed(self.desk, self.hub)
        self._seen = Seen(self.parts.settings, clock, registry)
        registry.register(FleetCollector(self.fleet, clock, self.projector.ready.is_set, Deadlines(self.parts.book)))

    def routers(self) -> list[APIRouter]:
        """Return the routers of API, pictures and page. `/metrics` and health are for the process: `health_router`."""
        parts = self.parts
        arrangements = Arrangements(parts.office, parts.audit, parts.clock)
        return [
            api_router(parts),
            alerts_api(parts, self.desk),
            arrangements_router(parts, arrangements),
            arrangements_pages(parts, arrangements),
            alertmanager_router(parts, self.desk.book),
            stored_router(parts.guard, self._recordings, AccessLog(parts.ledger, parts.clock), self._playing),
            live_router(parts, AccessLog(parts.ledger, parts.clock)),
            static_router(parts.guard),
            *registration_routers(parts, self.registering),
            *people_routers(parts),
            openapi_router(parts.guard),
            alert_pages_router(parts),
            explanations_router(parts),
            explanations_api(parts),
            holds_router(parts),
            holds_api(parts),
            *self.footage.routers(),
            supervision_router(parts),
            leads_router(parts),
            leads_api(parts),
            wall_router(parts, self.wall),
            recordings_router(parts),
            watch_banner_router(parts.guard, parts.shell, self._seen),
        ]

    def health(self) -> Router:
        """Return `/metrics`, `/healthz` and `/readyz` of a process that is a console alone."""
        return health_router(self._registry, self.not_ready)

    def not_ready(self) -> str:
        """Say why figures are not right yet; empty when they are."""
        return "" if self.projector.ready.is_set() else "console: still reading the log"

    async def run(self) -> None:
        """Follow the log until cancelled.

        Raises:
            BusUnavailable: The log could not be joined.
        """
        beside = {
            "registering": self.registering.run,
            "alerts": self.feed.run,
            "views": self._views.run,
            "explanations": ExplanationDesk(self.parts).run,
            "names": self._names.run,
        }
        jobs = [asyncio.create_task(run(), name=name) for name, run in beside.items()]
        try:
            await self.projector.run()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def close(self) -> None:
        """End streams and readers. Before the HTTP server's own shutdown, which waits for open answers."""
        self.hub.close()
        await self._seen.close()
        await self.pictures.close()
        await self._views.close()

    def _place(self, recorder_id: str) -> Place:
        return self.parts.place(recorder_id)

    async def _tell(self, recorder_id: str, key: str, fault: IntegrityFault) -> None:
        """Say on the log that a stored object is not what was stored; whoever watches is told in any case."""
        event = Integrity(at=self._clock.now(), recorder_id=recorder_id, key=key, fault=fault)
        try:
            await self._bus.publish(EVENTS.name, recorder_id, encode(event))
        except BusUnavailable as error:
            log.error("console: %s of %s could not be told: %s", fault, key, error)

    def _changed(self, changes: Sequence[Change]) -> None:
        self.hub.publish(changes)
