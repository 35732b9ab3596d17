"""The parts put together: what runs in one process, and how it starts and ends. `liuhen.py` is its only user.

Parts are imported where they are used: `liuhen ingest` must be recording again a moment after it was killed, and
loads neither Faust nor a database for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import random
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configuration import registrations_of, rulebook_of
from domain.clock import SystemClock
from domain.errors import InvalidSettings, Unavailable
from domain.settings import Settings

if TYPE_CHECKING:
    from starlette.routing import Router

    from dashboards.console import Console
    from dashboards.front import Front
    from dashboards.projection import Fleet
    from domain.bus import Bus
    from domain.events import Integrity
    from policies.local import Rulebook
    from storage.catalog.catalog import Catalog
    from storage.ledger.keeper import Keeper
    from storage.ledger.ledger import Ledger
    from storage.objects.port import ObjectStore
    from streams.ingest.registrations import Registrations
    from streams.ingest.service import IngestService
    from streams.workers.custody import Chore

SHUTDOWN_S = 15.0
DECISIONS_EVERY_S = 2.0
"""How soon a hold that somebody wrote to the ledger (`liuhen hold`) is on the objects."""
EXPIRY_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


class House:
    """What runs in this process: parts opened once, jobs and routes; closed in reverse order."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, listener: socket.socket | None = None) -> None:
        self.settings = settings
        self.stack = stack
        self.listener = listener
        self.clock = SystemClock()
        self.worker_id = settings.worker_id or socket.gethostname()
        self.jobs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self.routers: list[Router] = []
        self.not_ready: list[Callable[[], str]] = []
        self.farewell: list[Callable[[], Awaitable[None]]] = []
        self.console: Console | None = None
        host, port = listener.getsockname()[:2] if listener is not None else ("", 0)
        self.address = f"http://{host}:{port}"
        self._bus: Bus | None = None
        self._starting = asyncio.Lock()
        self._is_started = False
        self._front: Front | None = None
        self._catalog: Catalog | None = None
        self._ledger: Ledger | None = None
        self._store: ObjectStore | None = None
        self._book: Rulebook | None = None

    @property
    def fleet(self) -> Fleet:
        """The console's view of the recorders; only where the console runs in this process."""
        if self.console is None:
            msg = "no console in this process"
            raise LookupError(msg)
        return self.console.fleet

    def log(self) -> Bus:
        """Return the log, perhaps not started yet."""
        if self._bus is None:
            from streams.bus.connect import connect

            self._bus = connect(self.settings.bus, partitions=self.settings.partitions, client_id=self.worker_id)
            self.stack.push_async_callback(self._bus.close)
        return self._bus

    async def bus(self) -> Bus:
        """Return the log, started."""
        bus = self.log()
        async with self._starting:
            if not self._is_started:
                await bus.start()
                self._is_started = True
        return bus

    def serve(self) -> None:
        """Answer HTTP from now on, with the routes known by now; calling it again adds those that came since."""
        if self._front is None:
            from dashboards.front import Front

            self._front = Front(self.listener, self._why_not_ready)
        self._front.add(self.routers)
        self.routers = []

    def _why_not_ready(self) -> str:
        return "; ".join(filter(None, (ask() for ask in self.not_ready)))

    async def close_doors(self, jobs: Sequence[asyncio.Task[None]]) -> None:
        """End the answers that go on for ever, then the server and the jobs."""
        for say_goodbye in self.farewell:  # streams end first: the server waits for open answers
            await say_goodbye()
        for job in jobs:
            job.cancel()
        waiting = list(jobs)
        if self._front is not None:
            waiting.append(self._front.end())
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=SHUTDOWN_S)
            for task in late:
                task.cancel()

    async def catalog(self) -> Catalog:
        """Return the catalogue, its schema up to date."""
        if self._catalog is None:
            from storage.catalog.catalog import Catalog

            _make_parent(self.settings.catalog)
            self._catalog = await Catalog.connect(self.settings.catalog)
            self.stack.push_async_callback(self._catalog.close)
        return self._catalog

    @property
    def book(self) -> Rulebook:
        """The policies in force here, read once; raises `InvalidPolicy` where a file is wrong."""
        if self._book is None:
            self._book = rulebook_of(self.settings)
        return self._book

    async def ledger(self) -> Ledger:
        """Return the custody ledger, its schema up to date."""
        if self._ledger is None:
            from storage.ledger.ledger import Ledger

            _make_parent(self.settings.ledger)
            self._ledger = await Ledger.connect(self.settings.ledger)
            self.stack.push_async_callback(self._ledger.close)
        return self._ledger

    async def registrations(self) -> Registrations:
        """Return the registrations on the log, all those read that stood there."""
        from domain.topics import REGISTRY
        from streams.ingest.follow import Follower
        from streams.ingest.registrations import Registrations

        known = Registrations()
        follower = Follower(await self.bus(), {REGISTRY.name: known.take})
        await follower.start()
        self.stack.push_async_callback(follower.stop)
        await follower.caught_up()
        return known

    def policy_of(self, registrations: Registrations) -> Callable[[str], str]:
        """Return what says a recorder's policy; the settings' where it is not registered."""

        def policy_of(recorder_id: str) -> str:
            known = registrations.get(recorder_id)
            return self.settings.policy if known is None else known.policy

        return policy_of

    async def store(self) -> ObjectStore:
        """Return the object store, found fit to keep evidence."""
        if self._store is None:
            from storage.objects.connect import connect

            self._store = connect(self.settings)
            self.stack.push_async_callback(self._store.close)
            await self._store.probe()
        return self._store


def _make_parent(address: str) -> None:
    """Make the folder of an embedded database; a database server makes its own."""
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


async def _ingest(house: House) -> None:
    """Cameras first, then the doors for devices, then the log: after kill -9 each second before them is a gap."""
    from streams.ingest.registering import register
    from streams.ingest.service import IngestService

    service = IngestService(house.log(), house.settings, house.clock)
    house.stack.push_async_callback(service.stop)
    service.open()
    house.not_ready.append(service.not_ready)
    await _load("streams.ingest.api.routes", "streams.ingest.whip.routes", "dashboards.front")
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


async def _load(*modules: str) -> None:
    """Load in a thread what takes long to load: whatever records in this process goes on meanwhile."""

    def load() -> None:
        for name in modules:
            importlib.import_module(name)

    await asyncio.to_thread(load)


def _open_doors(house: House, service: IngestService) -> None:
    from streams.ingest.api.locks import RecorderLocks
    from streams.ingest.api.routes import device_router
    from streams.ingest.whip.options import options_from
    from streams.ingest.whip.routes import whip_router
    from streams.ingest.whip.service import WhipService
    from streams.uploads.limits import Limits
    from streams.uploads.routes import uploads_router
    from streams.uploads.shelf import open_shelf

    locks = RecorderLocks()
    shelf, limits = open_shelf(house.settings), Limits.of(house.settings)
    whip = WhipService(service, house.clock, options_from(house.settings), locks)
    house.farewell.append(whip.close)
    house.routers += [
        whip_router(service, whip, public_url=house.settings.public_url),
        device_router(service, house.clock, before_end=whip.close_session, locks=locks),
        uploads_router(service, house.clock, shelf, limits, public_url=house.settings.public_url),
    ]


async def _store(house: House) -> None:
    await _load("streams.workers.store", "storage.catalog.catalog", "storage.objects.connect")
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


async def _detect(house: House) -> None:
    await _load("streams.workers.detect")
    from streams.workers import detect

    book = house.book
    bus = await house.bus()
    house.jobs["detect"] = lambda: detect.run(bus, house.settings, book)


async def _analyse(house: House) -> None:
    await _load("streams.workers.analyse")
    from streams.workers import analyse

    bus = await house.bus()
    house.jobs["analyse"] = lambda: analyse.run(bus, house.settings, house.clock)


async def _tick(house: House) -> None:
    from streams.workers import tick

    bus = await house.bus()
    house.jobs["tick"] = lambda: tick.run(bus, house.clock)


async def _custody(house: House) -> None:
    await _load("streams.workers.custody", "storage.catalog.catalog", "storage.objects.connect")
    from domain.topics import EVENTS
    from domain.wire import encode
    from storage.ledger.keeper import keeper
    from storage.ledger.keys import load_keys
    from storage.retention.expiry import Expiry
    from storage.retention.retention import Retention
    from streams.workers.custody import Checkpoints, Chore, CustodyWorker, Expiries

    settings, clock = house.settings, house.clock
    store, catalog, ledger = await house.store(), await house.catalog(), await house.ledger()
    bus = await house.bus()
    policy_of = house.policy_of(await house.registrations())

    async def tell(fault: Integrity) -> None:
        await bus.publish(EVENTS.name, fault.recorder_id, encode(fault))

    retention = Retention(store, catalog, ledger, clock=clock, policy_of=policy_of, book=house.book, on_fault=tell)
    keeps = keeper(settings, ledger, load_keys(Path(settings.ledger_key_file), settings.ledger_origin), store, clock)
    house.stack.push_async_callback(keeps.close)
    chores = [
        Chore("checkpoint", settings.checkpoint_s, Checkpoints(keeps, ledger, bus, clock).run),
        Chore("decisions", DECISIONS_EVERY_S, retention.follow),
        Chore("expiry", EXPIRY_EVERY_S, Expiries(Expiry(retention), clock).run),
        await _verification(house, keeps, tell),
        *await _copy_off_site(house, tell),
    ]
    house.jobs["custody"] = CustodyWorker(bus, catalog, ledger, retention, chores).run


async def _verification(house: House, keeps: Keeper, tell: Callable[[Integrity], Awaitable[None]]) -> Chore:
    """The check of all evidence that runs by itself."""
    from storage.ledger.keys import trusted_keys
    from storage.ledger.timestamps import load_roots
    from storage.verify.scheduled import LOOK_EVERY_S, Scheduled
    from storage.verify.verifier import Rest, Verifier
    from streams.workers.custody import Chore

    settings, store, ledger = house.settings, await house.store(), await house.ledger()
    trusted = trusted_keys(Path(settings.ledger_key_file))
    roots = load_roots(settings.tsa_certificates) if settings.tsa_certificates else []

    def make(rest: Rest) -> Verifier:
        return Verifier(
            store,
            ledger,
            trusted,
            keeps.copier.places,
            house.clock,
            book=house.book,
            roots=roots,
            gap_min_s=settings.gap_min_s,
            rest=rest,
        )

    every_s, bytes_per_s = settings.verify_every_s, settings.verify_bytes_per_s
    scheduled = Scheduled(make, tell, house.clock, Path(settings.work), every_s=every_s, bytes_per_s=bytes_per_s)
    return Chore("verify", min(LOOK_EVERY_S, every_s), scheduled.run_if_due)


async def _copy_off_site(house: House, tell: Callable[[Integrity], Awaitable[None]]) -> list[Chore]:
    """The copy of everything in a second store, where one is set."""
    settings = house.settings
    if not settings.offsite:
        return []
    from storage.objects.connect import connect_second
    from storage.offsite.offsite import Offsite
    from streams.workers.custody import Chore

    second = connect_second(settings.offsite, settings, "offsite")
    house.stack.push_async_callback(second.close)
    offsite = Offsite(
        await house.store(),
        second,
        await house.ledger(),
        house.clock,
        Path(settings.work) / "offsite",
        name=settings.offsite.partition("?")[0],
        lock_ms=settings.ledger_lock_days * 86_400_000,
        tell=tell,
    )
    return [Chore("offsite", settings.checkpoint_s, offsite.run)]


async def _console(house: House) -> None:
    await _load("dashboards.console", "storage.catalog.catalog", "storage.objects.connect")
    from prometheus_client import REGISTRY

    from dashboards.console import Console

    state = Path(house.settings.work) / f"console-{house.worker_id}.state"
    state.parent.mkdir(parents=True, exist_ok=True)
    bus, catalog, store = await house.bus(), await house.catalog(), await house.store()
    ledger = await house.ledger()
    console = Console(bus, catalog, house.clock, state, REGISTRY, store=store, ledger=ledger, book=house.book)
    house.console = console
    house.jobs["console"] = console.run
    house.farewell.append(console.close)
    house.not_ready.append(console.not_ready)
    house.routers += console.routers()


ROLES: dict[str, Callable[[House], Awaitable[None]]] = {
    "ingest": _ingest,
    "store": _store,
    "detect": _detect,
    "analyse": _analyse,
    "tick": _tick,
    "custody": _custody,
    "console": _console,
}


@contextlib.asynccontextmanager
async def running(settings: Settings, roles: Sequence[str]) -> AsyncIterator[House]:
    """Open a house with these roles and serve it until the block is left."""
    listener = listen(settings.http)
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        house = House(settings, stack, listener)
        house.not_ready.append(lambda: "" if started else "starting")
        started = False
        jobs: list[asyncio.Task[None]] = []
        try:
            for role in roles:
                await ROLES[role](house)
            house.serve()
            jobs += [asyncio.create_task(_keep_running(name, job), name=name) for name, job in house.jobs.items()]
            started = True
            _spare_the_collector()
            yield house
        finally:
            await house.close_doors(jobs)


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking everything that was loaded, again and again, for as long as it runs.

    What stands now stays until the end. What comes later is nearly all freed by reference counts: coded pictures are
    in no cycle, and would be walked several times in the seconds they wait for their fragment.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _keep_running(name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job again when it breaks, so that a broken store or detector never ends the recording beside it."""
    from streams.ingest.backoff import Backoff

    backoff = Backoff(random.random)
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        try:
            await job()
        except Exception:
            wait_s = backoff.after_failure(loop.time() - began_s)
            _log.exception("%s broke; again in %.1f s", name, wait_s)
            await asyncio.sleep(wait_s)
        else:
            return


def listen(address: str) -> socket.socket:
    """Listen on `host:port`.

    Raises:
        InvalidSettings: It is no such address.
        Unavailable: It is taken, or not ours.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        msg = f"http: {address!r} is not host:port"
        raise InvalidSettings(msg, "http")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        msg = f"http: cannot listen on {address}: {error}"
        raise Unavailable(msg) from error
