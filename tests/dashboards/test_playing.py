"""Who plays stored footage, over HTTP: by office where it is, under a grant just what was granted, and nobody else."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from fastapi import FastAPI, Request

from dashboards.footage.granted import Granted
from dashboards.hls.playback import Recordings
from dashboards.hls.routes import stored_router
from dashboards.people.guard import Guard
from dashboards.people.playing import Playing
from dashboards.people.rights import Duty, Person, Place, Role
from dashboards.people.viewing import AccessLog
from domain.clock import Instant, SystemClock
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import Entry, decode
from storage.office import requests
from storage.office.office import Office
from storage.office.request_steps import Application, Decision, ask, decide, revoke
from tests.storage.verify_case import Case, case

HERE = Place(unit_id="east", officers=frozenset({"officer"}))
DUTIES = {
    "chief": Duty(role=Role.SUPERVISOR),
    "east": Duty(role=Role.ARCHIVE_MANAGER, unit_id="east"),
    "west": Duty(role=Role.SUPERVISOR, unit_id="west"),
    "officer": Duty(role=Role.OFFICER),
    "stranger": Duty(role=Role.OFFICER),
    "watch": Duty(role=Role.DUTY_OFFICER),
    "auditor": Duty(role=Role.AUDITOR),
    "admin": Duty(role=Role.ADMINISTRATOR),
}


class Named:
    """Takes the name of who asks from a header."""

    async def who(self, request: Request) -> Person | None:
        name = request.headers.get("x-name", "")
        return Person(account_id=name, name=name, duties=(DUTIES[name],)) if name else None

    def knock(self, request: Request) -> None:
        """Let anything in."""


class Site:
    """Stored footage, the office, and a way to ask for it as somebody."""

    def __init__(self, one: Case, office: Office, client: httpx.AsyncClient) -> None:
        self.case, self.office, self.client = one, office, client

    def row(self, number: int) -> SegmentRow:
        return self.case.rows[number]

    async def playlist(self, name: str, start: Instant, end: Instant) -> int:
        answer = await self.client.get(
            "/hls/cam-1/playback.m3u8",
            params={"from": start.rfc3339(), "to": end.rfc3339()},
            headers={"x-name": name},
        )
        return answer.status_code

    async def part(self, name: str, row: SegmentRow, part: str) -> int:
        """Return the status; 404 with `cannot be read` stands for shown: these fragments are of right boxes alone."""
        token = base64.urlsafe_b64encode(row.key.encode()).decode()
        answer = await self.client.get(f"/hls/cam-1/playback/{token}/{part}", headers={"x-name": name})
        shown = answer.status_code == 404 and "cannot be read" in answer.json()["detail"]
        return 200 if shown else answer.status_code

    async def grant(self, name: str, row: SegmentRow, start: Instant, end: Instant) -> requests.Kept:
        now = SystemClock().now()
        asked = Application(
            id=f"{int(start):016x}",
            recorder_id="cam-1",
            session_id=row.session_id,
            from_at=start,
            to_at=end,
            policy="wucheng",
            who="staff",
            want="view",
            asked_by=name,
            asked_name=name,
            asked_at=now,
            reason="核查",
            matter="12号",
            steps=("approve",),
        )
        kept = await requests.add(self.office, ask(asked, 7))
        said = Decision(step="approve", agrees=True, by="chief", name="主任", at=now)
        return await requests.change(self.office, kept, decide(kept.request, said, 7))

    async def told(self, since: int) -> list[Entry]:
        return [decode(line) async for _, line in self.case.ledger.read(since)]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Site]:
    async with case(folder) as one:
        await one.fill()
        catalog = await Catalog.connect(f"sqlite:///{folder}/catalog.db")
        office = await Office.connect(f"sqlite:///{folder}/office.db")
        for row in one.rows:
            await catalog.add_segment(row)
        clock = SystemClock()
        playing = Playing(lambda _recorder_id, _at: HERE, Granted(office), clock)
        app = FastAPI()
        access = AccessLog(one.ledger, clock)
        app.include_router(stored_router(Guard(Named()), Recordings(catalog, one.store), access, playing))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
            yield Site(one, office, client)
        await catalog.close()
        await office.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(tmp_path) as one:
        yield one


BY_OFFICE = {
    "chief": 200,
    "east": 200,
    "west": 404,  # of another unit: not there, for them
    "officer": 403,  # their own: they know of it, and ask for it
    "stranger": 404,
    "watch": 403,
    "auditor": 403,
    "admin": 403,
    "": 401,
}


@pytest.mark.parametrize(("name", "status"), BY_OFFICE.items())
async def test_by_office(site: Site, name: str, status: int) -> None:
    row = site.row(0)
    before = await site.case.ledger.size()
    assert await site.playlist(name, row.from_at, row.to_at) == status
    assert await site.part(name, row, "init.mp4") == status
    assert await site.part(name, row, f"{row.first_seq}-0.m4s") == status
    told = [(one.body["by"], "request" in one.body) for one in await site.told(before)]
    assert told == ([(name, False)] if status == 200 else [])


async def test_a_grant_shows_the_span_that_was_granted_and_nothing_else(site: Site) -> None:
    row = site.row(0)
    length = (row.to_at - row.from_at) // row.fragments
    start, end = row.from_at.plus(length), row.from_at.plus(2 * length)  # the second fragment of three
    kept = await site.grant("officer", row, start, end)
    before = await site.case.ledger.size()
    assert await site.playlist("officer", start, end) == 200
    assert await site.playlist("officer", start, end.plus(1)) == 403
    assert await site.playlist("officer", start.plus(-1), end) == 403
    assert await site.part("officer", row, f"{row.first_seq + 1}-0.m4s") == 200
    assert await site.part("officer", row, f"{row.first_seq}-0.m4s") == 403
    assert await site.part("officer", row, f"{row.first_seq + 2}-0.m4s") == 403
    assert await site.part("officer", site.row(1), "init.mp4") == 403
    assert await site.part("stranger", row, f"{row.first_seq + 1}-0.m4s") == 404
    (told,) = await site.told(before)
    assert (told.kind, told.body["by"], told.body["request"]) == ("access", "officer", kept.id)


async def test_a_grant_that_was_taken_back_shows_nothing(site: Site) -> None:
    row = site.row(0)
    kept = await site.grant("officer", row, row.from_at, row.to_at)
    assert await site.part("officer", row, f"{row.first_seq}-0.m4s") == 200
    await requests.change(site.office, kept, revoke(kept.request, "chief", "主任", SystemClock().now(), "不再需要"))
    assert await site.part("officer", row, f"{row.first_seq}-0.m4s") == 403
    assert await site.playlist("officer", row.from_at, row.to_at) == 403


async def test_a_grant_of_one_session_shows_no_other(site: Site) -> None:
    row = site.row(0)
    other = msgspec.structs.replace(row, session_id="another")
    await site.grant("officer", other, row.from_at, row.to_at)
    assert await site.part("officer", row, f"{row.first_seq}-0.m4s") == 403


async def test_who_is_refused_is_told_where_to_ask(site: Site) -> None:
    row = site.row(0)
    answer = await site.client.get(
        "/hls/cam-1/playback.m3u8",
        params={"from": row.from_at.rfc3339(), "to": row.to_at.rfc3339()},
        headers={"x-name": "officer"},
    )
    assert "/requests/new?recorder=cam-1" in answer.json()["detail"]


async def test_times_that_no_calendar_can_write_are_refused_to_all(site: Site) -> None:
    span = {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}
    for name in ("officer", "stranger", "chief"):
        answer = await site.client.get("/hls/cam-1/playback.m3u8", params=span, headers={"x-name": name})
        assert answer.status_code == 422


async def test_where_grants_cannot_be_read_nothing_is_shown(site: Site) -> None:
    row = site.row(0)
    await site.grant("officer", row, row.from_at, row.to_at)
    await site.office.write(lambda connection: connection.exec_driver_sql("DROP TABLE requests"))
    assert await site.playlist("officer", row.from_at, row.to_at) == 503
