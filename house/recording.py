"""The roles on the way of a picture: ingest, store, detect, analyse, tick."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from commands.configuration import registrations_of
from house.house import House, load

if TYPE_CHECKING:
    from streams.ingest.service import IngestService


async def ingest(house: House) -> None:
    """Cameras first, then the doors for devices, then the log: after kill -9 each second before them is a gap."""
    from streams.ingest.registering import register
    from streams.ingest.service import IngestService

    service = IngestService(house.log(), house.settings, house.clock)
    house.stack.push_async_callback(service.stop)
    service.open()
    house.not_ready.append(service.not_ready)
    await load("streams.ingest.api.routes", "streams.ingest.whip.routes", "dashboards.front")
    _open_doors(house, service)

    async def join_log() -> None:
        bus = await house.bus()
        await register(bus, registrations_of(house.settings))  # first, so that the start knows of them
        await service.start()

    if service.remembers:
        house.serve()
        house.jobs["ingest"] = join_log  # tried until the log is there
    else:
        await join_log()


def _open_doors(house: House, service: IngestService) -> None:
    from streams.ingest.api.locks import RecorderLocks
    from streams.ingest.api.routes import device_router
    from streams.ingest.whip.options import options_from
    from streams.ingest.whip.routes import whip_router
    from streams.ingest.whip.service import WhipService
    from streams.uploads.limits import Limits
    from streams.uploads.routes import uploads_router
    from streams.uploads.shelf import take_shelf

    locks = RecorderLocks()
    limits = Limits.of(house.settings)
    shelf, lock = take_shelf(house.settings)
    house.stack.callback(os.close, lock)
    whip = WhipService(service, house.clock, options_from(house.settings), locks)
    house.farewell.append(whip.close)
    house.routers += [
        whip_router(service, whip, public_url=house.settings.public_url),
        device_router(service, house.clock, before_end=whip.close_session, locks=locks),
        uploads_router(service, house.clock, shelf, limits, public_url=house.settings.public_url),
    ]


async def store(house: House) -> None:
    """Gather fragments into locked objects, and bring uploaded files in."""
    await load("streams.workers.store", "storage.catalog.catalog", "storage.objects.connect")
    from streams.workers.backfill import backfill_worker
    from streams.workers.store import StoreWorker

    _raise_file_limit()
    book = house.book
    store, catalog, ledger = await house.store(), await house.catalog(), await house.ledger()
    bus = await house.bus()
    registrations = await house.registrations()
    policy_of = house.policy_of(registrations)
    worker = StoreWorker(bus, store, catalog, ledger, house.settings, policy_of=policy_of, book=book, clock=house.clock)
    house.jobs["store"] = worker.run
    house.jobs["backfill"] = backfill_worker(
        bus, store, catalog, ledger, house.settings, registrations=registrations, book=book, clock=house.clock
    ).run


def _raise_file_limit() -> None:
    """Let this process open as many files as it may: the store keeps one for each segment that is being gathered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def detect(house: House) -> None:
    """Step the detectors on the embedded log (on Kafka, Faust does)."""
    await load("streams.workers.detect")
    from streams.workers import detect

    book = house.book
    bus = await house.bus()
    house.jobs["detect"] = lambda: detect.run(bus, house.settings, book)


async def analyse(house: House) -> None:
    """Look at keyframes and sound in child processes."""
    await load("streams.workers.analyse")
    from streams.workers import analyse

    bus = await house.bus()
    house.jobs["analyse"] = lambda: analyse.run(bus, house.settings, house.clock)


async def tick(house: House) -> None:
    """Write the time on every partition."""
    from streams.workers import tick

    bus = await house.bus()
    house.jobs["tick"] = lambda: tick.run(bus, house.clock)
