"""A console over a site with real footage of one session, and people who come to it by a name in a header or cookie."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from dashboards.console import Console
from dashboards.people.door import RealDoor
from dashboards.people.requests import Origins
from dashboards.people.rights import Duty, Person, Role
from domain.clock import Instant, SystemClock
from domain.registry import Registration
from domain.settings import Settings
from domain.wire import encode
from storage.catalog.rows import SessionRow
from storage.ledger.entry import Entry, decode
from storage.ledger.keys import load_keys
from storage.ledger.ledger import Ledger
from storage.office.office import Office
from tests.streams.footage import START, device, footage
from tests.streams.store_media import Site, end_feed, publish, site

SECONDS = 8
PEOPLE = {
    "zhang": ("张三", Duty(role=Role.OFFICER)),
    "li": ("李主任", Duty(role=Role.SUPERVISOR)),
    "zhao": ("赵科长", Duty(role=Role.SUPERVISOR)),
    "dang": ("档案员", Duty(role=Role.ARCHIVE_MANAGER)),
    "qian": ("外单位主管", Duty(role=Role.SUPERVISOR, unit_id="west")),
    "sun": ("审计员", Duty(role=Role.AUDITOR)),
    "zhou": ("系统管理员", Duty(role=Role.ADMINISTRATOR)),
}


class Named:
    """Lets in who says a name."""

    async def who(self, request: Request) -> Person | None:
        """Read the name."""
        name = request.headers.get("x-name") or request.cookies.get("x-name", "")
        if name not in PEOPLE:
            return None
        shown, duty = PEOPLE[name]
        return Person(account_id=name, name=shown, duties=(duty,))

    def knock(self, request: Request) -> None:
        """Let anything in."""


class House:
    """The console, and what stands behind it.

    Attributes:
        client: HTTP to it.
        console: It.
        ledger: The custody ledger.
        office: The office.
        settings: Of the console.
        start: First moment of the footage.
        end: Last.
    """

    def __init__(self, here: Site, console: Console, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.here, self.console, self.client, self.app = here, console, client, app
        self.ledger: Ledger = console.parts.ledger
        self.office: Office = console.parts.office
        self.settings: Settings = console.parts.settings
        self.start, self.end = START, START.plus(SECONDS * 1000)

    async def get(self, name: str, path: str, **params: str) -> httpx.Response:
        """GET as somebody."""
        return await self.client.get(path, params=params, headers={"x-name": name, "accept": "text/html"})

    async def post(self, name: str, path: str, data: dict[str, str] | None = None, **rest: object) -> httpx.Response:
        """POST a form as somebody."""
        return await self.client.post(path, data=data or {}, headers={"x-name": name}, **rest)  # type: ignore[arg-type]

    async def ask(self, name: str, *, files: object = None, **changes: str) -> httpx.Response:
        """Send an application for all of the session."""
        form = {
            "recorder": "dev-1",
            "session": "s1",
            "from": self.start.rfc3339(),
            "to": self.end.rfc3339(),
            "who": "staff",
            "want": "view",
            "reason": "案卷评查",
            "matter": "〔2026〕12号",
        }
        return await self.post(name, "/requests/new", form | changes, **({"files": files} if files else {}))

    async def decide(self, name: str, where: str, step: str = "approve", **changes: str) -> httpx.Response:
        """Agree to what a request waits for."""
        return await self.post(name, f"{where}/decide", {"step": step, "decision": "yes"} | changes)

    async def acts(self, prefix: str = "request.") -> list[Entry]:
        """Return the acts in the ledger."""
        found = [decode(line) for _, line in await self.ledger.of_kinds(["act"], limit=1000)]
        return [one for one in found if one.body["what"].startswith(prefix)]


async def fill(folder: Path, policy: str = "wucheng") -> None:
    """Store footage of one session, as the store worker does."""
    async with site(folder) as here:
        known = Registration(recorder_id="dev-1", kind="body_worn", policy=policy, unit_id="east", name="东区一号")
        await here.bus.publish("registry", "dev-1", encode(known))
        for event, data in footage(device(fixed=False), SECONDS):
            told = msgspec.structs.replace(event, session_id="s1", feed_id="f1")
            await publish(here.bus, told, data, starts=told.seq == 0)
        await end_feed(here.bus, "dev-1", "f1")
        async with here.worker() as worker:
            await here.until_committed(worker)
        row = SessionRow(recorder_id="dev-1", session_id="s1", opened_at=START, completed_at=START.plus(SECONDS * 1000))
        await here.catalog.upsert_session(msgspec.structs.replace(row, ended_at=row.completed_at))


@asynccontextmanager
async def house(
    filled: Path, folder: Path, policy: str = "wucheng", *, real_door: bool = False
) -> AsyncIterator[House]:
    """Open a console on a copy of a site that was filled, with names or with accounts."""
    await asyncio.to_thread(shutil.copytree, filled, folder, dirs_exist_ok=True)
    async with site(folder) as here, _console(folder, here, policy, real_door) as made:
        yield made


@asynccontextmanager
async def _console(folder: Path, here: Site, policy: str, real_door: bool) -> AsyncIterator[House]:
    ledger = here.ledger
    office = await Office.connect(f"sqlite:///{folder}/office.db")
    settings = Settings(policy=policy, work=str(folder / "work"), ledger_key_file=str(folder / "ledger.key"))
    load_keys(Path(settings.ledger_key_file), settings.ledger_origin)
    console = Console(
        here.bus,
        here.catalog,
        SystemClock(),
        folder / "console.state",
        CollectorRegistry(),
        store=here.store,
        ledger=ledger,
        office=office,
        door=RealDoor(office, SystemClock(), settings, Origins(settings)) if real_door else Named(),
        settings=settings,
    )
    app = FastAPI()
    for router in console.routers():
        app.include_router(router)
    running = [asyncio.create_task(console.run()), asyncio.create_task(console.footage.run())]
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    try:
        async with asyncio.timeout(20):
            while "dev-1" not in console.fleet.recorders:  # noqa: ASYNC110 - the fold rings no bell
                await asyncio.sleep(0.02)
        yield House(here, console, client, app)
    finally:
        await client.aclose()
        await console.close()
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await office.close()


def at(moment: Instant) -> str:
    """Return a time as a form of a browser sends it."""
    return moment.datetime().replace(tzinfo=None).isoformat(timespec="milliseconds")
