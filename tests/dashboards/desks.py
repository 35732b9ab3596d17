"""A console with the detectors and the keeping of evidence beside it, and people who come as whom they say they are."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import uvicorn
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from dashboards.alerts.book import Book
from dashboards.alerts.notifier import Notifier
from dashboards.alerts.origins import Origins
from dashboards.console import Console
from dashboards.people.rights import Duty, Person, Role
from dashboards.projection import Fleet
from domain.alerts import Alert
from domain.clock import Clock, Instant, SystemClock
from domain.events import Event, RecorderEvent, RecorderRegistered, SessionEnded, SessionOpened, SessionStopped, Tick
from domain.findings import Finding
from domain.registry import Registration
from domain.settings import Settings
from domain.wire import encode
from storage.catalog.catalog import Catalog
from storage.ledger.entry import Entry, decode
from storage.ledger.ledger import Ledger
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore
from storage.office import alerts
from storage.office.alerts import Filter
from storage.office.office import Office
from storage.retention.retention import Retention
from streams.bus.embedded import EmbeddedBus
from streams.workers import detect

PERSON = "person"
"""Header and cookie that say who asks."""
PEOPLE = {
    "li": Duty(role=Role.OFFICER),
    "wang": Duty(role=Role.OFFICER),
    "chief": Duty(role=Role.SUPERVISOR, unit_id="u1"),
    "deputy": Duty(role=Role.SUPERVISOR, unit_id="u1"),
    "elsewhere": Duty(role=Role.SUPERVISOR, unit_id="u2"),
    "watch": Duty(role=Role.DUTY_OFFICER),
    "archive": Duty(role=Role.ARCHIVE_MANAGER),
    "auditor": Duty(role=Role.AUDITOR),
}


class TestDoor:
    """Lets in whoever names a person of `PEOPLE`."""

    __test__ = False

    async def who(self, request: Request) -> Person | None:
        name = request.headers.get(PERSON) or request.cookies.get(PERSON) or ""
        duty = PEOPLE.get(name)
        return None if duty is None else Person(account_id=name, name=name, duties=(duty,), csrf="token")

    def knock(self, request: Request) -> None:
        """Let anything in."""


class Desks:
    """What runs, and what happens in it.

    Attributes:
        handed: Recorder → accounts to whom it was handed out.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.handed: dict[str, frozenset[str]] = {"rec-1": frozenset({"li"})}
        self.http: httpx.AsyncClient
        self.url = ""

    async def open(self) -> None:
        self.bus = EmbeddedBus(self.folder / "log", partitions=1)
        await self.bus.start()
        self.catalog = await Catalog.connect(f"sqlite:///{self.folder}/catalog.db")
        self.ledger = await Ledger.connect(f"sqlite:///{self.folder}/ledger.db")
        self.office = await Office.connect(f"sqlite:///{self.folder}/office.db")
        self.store = ObjectStore(FileStore(self.folder / "store", immutable=False))
        self.console = Console(
            self.bus,
            self.catalog,
            self.clock,
            self.folder / "console.state",
            CollectorRegistry(),
            store=self.store,
            ledger=self.ledger,
            office=self.office,
            door=TestDoor(),
        )
        parts = self.console.parts
        self.console.parts = msgspec.structs.replace(
            parts, officers=lambda recorder_id, _at: self.handed.get(recorder_id, frozenset())
        )
        self.retention = Retention(
            self.store, self.catalog, self.ledger, clock=self.clock, policy_of=lambda _: "wucheng"
        )
        self.app = FastAPI()
        for router in self.console.routers():
            self.app.include_router(router)

    async def close(self) -> None:
        await self.console.close()
        await self.catalog.close()
        await self.ledger.close()
        await self.office.close()
        await self.store.close()
        await self.bus.close()

    async def publish(self, *what: Event | Finding | Registration) -> None:
        for each in what:
            topic = "events" if isinstance(each, Event) else "findings" if isinstance(each, Finding) else "registry"
            key = each.recorder_id if isinstance(each, (RecorderEvent, Finding, Registration)) else None
            await self.bus.publish(topic, key, encode(each))

    async def tick(self) -> None:
        """Let the detectors know the time."""
        await self.bus.publish("events", None, encode(Tick(at=self.clock.now())))

    async def written(self) -> None:
        """Wait until all that was published is in the fleet and in the catalogue."""
        ends = {topic: (await self.bus.bounds((topic, 0)))[1] for topic in ("events", "findings", "registry")}  # type: ignore[arg-type]
        fleet, projector = self.console.fleet, self.console.projector
        async with asyncio.timeout(20):
            while _behind(fleet, ends) or projector.waiting:  # noqa: ASYNC110 - the fleet is a fold, it rings no bell
                await asyncio.sleep(0.02)

    async def until_found(self, done: Callable[[list[Finding]], bool]) -> list[Finding]:
        """Wait until the catalogue's findings are as they should be."""
        async with asyncio.timeout(20):
            while True:
                await self.tick()
                found = (await self.catalog.list_findings()).items
                if done(found):
                    return found
                await asyncio.sleep(0.1)

    async def until_alerts(self, count: int = 1) -> list[Alert]:
        """Wait until there are so many alerts."""
        async with asyncio.timeout(20):
            while True:
                found = await self.office.read(lambda connection: alerts.list_newest(connection, Filter()))
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.1)

    async def entries(self, kind: str = "act") -> list[Entry]:
        """What the ledger says, of one kind."""
        size = await self.ledger.size()
        found = [decode(line) async for _, line in self.ledger.read(0, size)]
        return [one for one in found if one.kind == kind]

    async def get(self, person: str, path: str) -> httpx.Response:
        return await self.http.get(path, headers={PERSON: person, "Accept": "text/html"})

    async def post(self, person: str, path: str, **form: str) -> httpx.Response:
        return await self.http.post(path, headers={PERSON: person}, data={"csrf": "token", **form})

    async def stopped_session(
        self, recorder_id: str = "rec-1", policy: str = "wucheng", hours_ago: float = 30, reason: str = "officer"
    ) -> Instant:
        """A session that was stopped, did not go on, and ended so long ago; returns when it stopped."""
        ended = self.clock.now().plus(-round(hours_ago * 3_600_000))
        opened, stopped = ended.plus(-1_800_000), ended.plus(-900_000)
        stop = SessionStopped(
            at=stopped,
            recorder_id=recorder_id,
            session_id="s1",
            reason=reason,  # type: ignore[arg-type]
            last_captured_at=stopped,
        )
        await self.publish(
            Registration(recorder_id=recorder_id, kind="body_worn", policy=policy, unit_id="u1", name="一号记录仪"),
            RecorderRegistered(at=opened.plus(-1_000), recorder_id=recorder_id, kind="body_worn", policy=policy),
            SessionOpened(at=opened, recorder_id=recorder_id, session_id="s1", act="service"),
            stop,
            SessionEnded(at=ended, recorder_id=recorder_id, session_id="s1", completed_at=ended),
        )
        return stopped


def _behind(fleet: Fleet, ends: dict[str, int]) -> bool:
    return any(fleet.next_offset(topic, 0) < end for topic, end in ends.items())


@asynccontextmanager
async def desks(folder: Path, *, serve: bool = False) -> AsyncIterator[Desks]:
    """Start everything; with `serve`, on a free port too."""
    made = Desks(folder, SystemClock())
    await made.open()
    origins = Origins(made.bus)
    notifier = Notifier(made.bus, Book(made.office, origins.name), origins, made.clock, lambda: None)
    running = [
        asyncio.create_task(made.console.run()),
        asyncio.create_task(origins.run()),
        asyncio.create_task(notifier.run()),
        # A log as young as these tests' is not proven to be in order; the detectors would wait for it.
        asyncio.create_task(detect.run(made.bus, Settings(lateness_s=0.5))),
    ]
    config = uvicorn.Config(made.app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    if serve:
        running.append(asyncio.create_task(server.serve()))
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag, it rings no bell
                await asyncio.sleep(0.02)
        made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made.app), base_url="http://console") as http:
            made.http = http
            yield made
    finally:
        made.console.hub.close()
        server.should_exit = True
        if serve:
            await running.pop()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await made.close()
