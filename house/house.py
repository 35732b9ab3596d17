"""One process: its parts, opened once and closed in reverse order.

Parts are imported where they are used: `liuhen ingest` must be recording again a moment after it was killed, and
loads neither Faust nor a database for it.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.account import seen_from_here
from commands.configuration import rulebook_of
from domain.clock import SystemClock
from domain.settings import Settings

if TYPE_CHECKING:
    from starlette.routing import Router

    from dashboards.console import Console
    from dashboards.front import Front
    from dashboards.projection import Fleet
    from domain.bus import Bus
    from policies.local import Rulebook
    from storage.catalog.catalog import Catalog
    from storage.ledger.ledger import Ledger
    from storage.objects.port import ObjectStore
    from storage.office.office import Office
    from streams.ingest.registrations import Registrations

SHUTDOWN_S = 15.0


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
        self.first_link = ""  # where the first administrator is made, once; empty where there are accounts
        self._bus: Bus | None = None
        self._starting = asyncio.Lock()
        self._is_started = False
        self._front: Front | None = None
        self._catalog: Catalog | None = None
        self._ledger: Ledger | None = None
        self._office: Office | None = None
        self._store: ObjectStore | None = None
        self._book: Rulebook | None = None

    @property
    def seen_at(self) -> str:
        """How a browser reaches the console: as `console_url` says, or on this machine."""
        host, port = self.listener.getsockname()[:2] if self.listener is not None else ("", 0)
        return self.settings.console_url.rstrip("/") or f"http://{seen_from_here(host)}:{port}"

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
            from streams.bus.counted import CountedBus

            log = connect(self.settings.bus, partitions=self.settings.partitions, client_id=self.worker_id)
            self._bus = CountedBus(log)
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
            from dashboards.people.requests import Origins

            self._front = Front(self.listener, self._why_not_ready, Origins(self.settings).may_scrape)
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

    async def office(self) -> Office:
        """Return what people enter and decide, its schema up to date."""
        if self._office is None:
            from storage.office.office import Office

            _make_parent(self.settings.office)
            self._office = await Office.connect(self.settings.office)
            self.stack.push_async_callback(self._office.close)
        return self._office

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


async def load(*modules: str) -> None:
    """Load in a thread what takes long to load: whatever records in this process goes on meanwhile."""

    def load() -> None:
        for name in modules:
            importlib.import_module(name)

    await asyncio.to_thread(load)
