"""The console on a real embedded log and catalogue, asked over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from dashboards.console import Console
from dashboards.people.doors import Open
from domain.clock import ManualClock
from domain.events import Event, Explanation, RecorderEvent, SegmentStored, SessionEnded, SessionOpened, SessionStopped
from domain.findings import Finding
from domain.registry import Registration
from domain.wire import decode_finding, encode, to_builtins
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow
from storage.ledger.ledger import Ledger
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore
from storage.office.office import Office
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.feeds import SHA, at, finding, fragment


class Running:
    """A console, its log and a client."""

    def __init__(self, bus: EmbeddedBus, catalog: Catalog, console: Console, http: httpx.AsyncClient) -> None:
        self.bus, self.catalog, self.console, self.http = bus, catalog, console, http

    async def publish(self, *what: Event | Finding | Registration) -> None:
        for each in what:
            topic = "events" if isinstance(each, Event) else "findings" if isinstance(each, Finding) else "registry"
            key = each.recorder_id if isinstance(each, (RecorderEvent, Finding, Registration)) else None
            await self.bus.publish(topic, key, encode(each))

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():  # noqa: ASYNC110 - the fleet is a plain fold, it rings no bell
                await asyncio.sleep(0.02)

    async def written(self) -> None:
        """Wait until all that was published is in the fleet and in the catalogue."""
        ends = {}
        for topic in ("events", "findings", "registry"):
            for number in range(self.bus.partitions(topic)):
                ends[topic, number] = (await self.bus.bounds((topic, number)))[1]  # type: ignore[arg-type]
        fleet, waiting = self.console.fleet, self.console.projector
        await self.until(lambda: all(fleet.next_offset(*place) >= end for place, end in ends.items()))
        await self.until(lambda: waiting.waiting == 0)

    async def get(self, path: str, **parameters: str | int) -> httpx.Response:
        return await self.http.get(path, params=parameters)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    bus = EmbeddedBus(folder / "log", partitions=2)
    await bus.start()
    catalog = await Catalog.connect(f"sqlite:///{folder}/catalog.db")
    ledger = await Ledger.connect(f"sqlite:///{folder}/ledger.db")
    office = await Office.connect(f"sqlite:///{folder}/office.db")
    console = Console(
        bus,
        catalog,
        ManualClock(at(100)),
        folder / "console.state",
        CollectorRegistry(),
        store=ObjectStore(FileStore(folder / "store", immutable=False)),
        ledger=ledger,
        office=office,
        door=Open(),
    )
    app = FastAPI()
    app.routes.extend(console.health().routes)
    for router in console.routers():
        app.include_router(router)
    task = asyncio.create_task(console.run())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as http:
        try:
            yield Running(bus, catalog, console, http)
        finally:
            await console.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await catalog.close()
            await ledger.close()
            await office.close()
            await bus.close()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


def registration(recorder_id: str, **fields: str) -> Registration:
    return Registration(recorder_id=recorder_id, kind="premises_camera", policy="wucheng", **fields)  # type: ignore[arg-type]


async def everything(run: Running, path: str, *, limit: int, **parameters: str | int) -> list[dict[str, object]]:
    """All pages of a listing."""
    items: list[dict[str, object]] = []
    cursor: str | None = None
    while True:
        answer = await run.get(path, limit=limit, **parameters, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= limit
        items += body["items"]
        cursor = body["cursor"]
        if cursor is None:
            return items


async def test_recorders_are_paged_in_order(run: Running) -> None:
    await run.publish(*(registration(f"cam-{number}", name=f"门 {number}") for number in range(7)))
    await run.written()
    for limit in (1, 3, 7, 100):
        names = [item["recorder_id"] for item in await everything(run, "/api/v1/recorders", limit=limit)]
        assert names == [f"cam-{number}" for number in range(7)]
    one = (await run.get("/api/v1/recorders/cam-3")).json()
    assert (one["name"], one["policy"], one["upload_lag_s"], one["condition"]) == ("门 3", "wucheng", 0.0, "idle")
    assert (await run.get("/api/v1/recorders/none")).status_code == 404


async def test_findings_are_the_wire_form_and_can_be_filtered(run: Running) -> None:
    known = [
        finding(1),
        finding(2, kind="recording.gap", severity="warning", evidence={"seconds": 3.5}, began_at=at(20)),
        finding(3, recorder_id="cam-2", session_id="s2", began_at=at(30)),
        finding(4, status="closed", ended_at=at(50), began_at=at(40)),
    ]
    await run.publish(*known)
    await run.written()
    items = await everything(run, "/api/v1/findings", limit=2)
    assert items == [to_builtins(each) for each in reversed(known)]
    assert decode_finding(json.dumps(items[0])) == known[3]

    async def ids(**parameters: str | int) -> list[str]:
        return [str(item["id"])[-1] for item in await everything(run, "/api/v1/findings", limit=10, **parameters)]

    assert await ids(open="true") == ["3", "2", "1"]
    assert await ids(kind="recording.gap") == ["2"]
    assert await ids(recorder="cam-2") == ["3"]
    assert await ids(session="s1", open=1) == ["2", "1"]


async def test_a_timeline_holds_segments_findings_stops_and_explanations_in_order(run: Running) -> None:
    def opened(recorder_id: str) -> SessionOpened:
        return SessionOpened(at=at(0), recorder_id=recorder_id, session_id="s1", act="inspection")

    stop = SessionStopped(at=at(130), recorder_id="cam-1", session_id="s1", reason="officer", last_captured_at=at(125))
    why = Explanation(
        at=at(170), recorder_id="cam-1", session_id="s1", method="written", cause="other", text="换电池", by="王"
    )
    ended = SessionEnded(at=at(181), recorder_id="cam-1", session_id="s1", completed_at=at(180))
    gap = finding(1, kind="recording.gap", began_at=at(60), ended_at=at(70), status="closed")
    await run.publish(opened("cam-1"), fragment(0), gap, stop, why, ended)
    for minute in (0, 1, 2):
        await run.catalog.add_segment(segment_row(minute))
    await run.written()
    for limit in (1, 2, 100):
        items = await everything(run, "/api/v1/sessions/s1/timeline", limit=limit)
        assert [item["type"] for item in items] == ["segment", "finding", "segment", "segment", "stop", "explanation"]
        assert [item["at"] for item in items] == sorted(str(item["at"]) for item in items)
    assert items[4]["event"] == to_builtins(stop)
    assert items[1]["finding"] == to_builtins(gap)
    sessions = (await run.get("/api/v1/sessions")).json()["items"]
    assert [(row["session_id"], row["act"], row["completed_at"]) for row in sessions] == [
        ("s1", "inspection", at(180).rfc3339())
    ]
    assert (await run.get("/api/v1/sessions", open="true")).json()["items"] == []
    assert (await run.get("/api/v1/sessions/none/timeline")).status_code == 404
    await run.publish(opened("cam-2"))
    await run.written()
    answer = await run.get("/api/v1/sessions/s1/timeline")
    assert (answer.status_code, answer.json()["field"]) == (422, "recorder")
    assert (await run.get("/api/v1/sessions/s1/timeline", recorder="cam-2")).json()["items"] == []


def segment_row(minute: int) -> SegmentRow:
    return SegmentRow(
        key=f"k/{minute}",
        recorder_id="cam-1",
        session_id="s1",
        feed_id="f1",
        policy="wucheng",
        from_at=at(60 * minute),
        to_at=at(60 * minute + 60),
        bytes=1,
        sha256=SHA,
        version_id="",
        codec="h264",
        first_seq=30 * minute,
        last_seq=30 * minute + 29,
        fragments=30,
        retain_until=at(1_000_000),
        stored_at=at(60 * minute + 70),
    )


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/recorders?limit=0", "limit"),
        ("/api/v1/recorders?limit=1001", "limit"),
        ("/api/v1/recorders?limit=many", "limit"),
        ("/api/v1/recorders?cursor=%00%ff", "cursor"),
        ("/api/v1/recorders?cursor=W10=", "cursor"),
        ("/api/v1/recorders?cursor=WzFd", "cursor"),
        ("/api/v1/findings?cursor=rubbish", "cursor"),
        ("/api/v1/findings?limit=-1", "limit"),
        ("/api/v1/findings?kind=recording.nonsense", "kind"),
        ("/api/v1/findings?open=perhaps", "open"),
        ("/api/v1/findings?recorder=Not%20An%20Id", "recorder"),
        ("/api/v1/findings?session=../x", "session"),
        ("/api/v1/findings?opne=true", "opne"),
        ("/api/v1/sessions?cursor=WyJhIl0=", "cursor"),
        ("/api/v1/sessions?recorder=%0A", "recorder"),
        ("/api/v1/sessions/s1/timeline?recorder=cam-1&cursor=WyJhIl0=", "cursor"),
        ("/api/v1/sessions/s1/timeline?limit=0", "limit"),
        ("/api/v1/sessions/s%20s/timeline", "session"),
        ("/hls/Not%20An%20Id/live.m3u8", "recorder_id"),
    ],
)
async def test_bad_input_is_a_problem_that_names_the_field(run: Running, path: str, field: str) -> None:
    answer = await run.http.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_health_and_readiness(run: Running) -> None:
    await run.until(lambda: not run.console.not_ready())
    assert (await run.get("/healthz")).status_code == 200
    assert (await run.get("/readyz")).status_code == 200
    assert "liuhen_console_ready 1.0" in (await run.get("/metrics")).text
    run.console.projector.ready.clear()
    assert (await run.get("/readyz")).status_code == 503


async def test_state_survives_a_restart_and_lag_is_right_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.publish(registration("cam-1"), fragment(0), fragment(2), fragment(4), finding(1))
        stored = SegmentStored(
            at=at(5),
            recorder_id="cam-1",
            session_id="s1",
            from_=at(0),
            to=at(2),
            key="k",
            version_id="",
            sha256=SHA,
            bytes=1,
        )
        await run.publish(stored)
        await run.written()
    assert (tmp_path / "console.state").exists()
    async with running(tmp_path) as run:
        await run.until(run.console.projector.ready.is_set)
        one = (await run.get("/api/v1/recorders/cam-1")).json()
        assert (one["upload_lag_s"], one["pending_fragments"]) == (98.0, 2)
        assert run.console.fleet.state.findings_total == {"recording.stalled": 1}
    # A state that was lost or cut off is made again from the log.
    state = tmp_path / "console.state"
    for left in (0, 50):
        state.write_bytes(state.read_bytes()[:left])
        async with running(tmp_path) as run:
            await run.until(run.console.projector.ready.is_set)
            one = (await run.get("/api/v1/recorders/cam-1")).json()
            assert (one["upload_lag_s"], one["pending_fragments"]) == (98.0, 2)


async def test_the_page_escapes_what_people_call_things_and_runs_nothing_of_theirs(run: Running) -> None:
    evil = "\"><script>alert('x')</script>"
    params = {"cause": "<img src=x onerror=alert(1)>", "seconds": 3.0, "from": "<i>"}
    await run.publish(
        registration("cam-1", name=evil, site_id="<b>", unit_id="<u>"),
        finding(1, kind="recording.gap", evidence=params, clauses=["<i>W</i>"]),
    )
    await run.written()
    for path in ("/", "/?lang=en&unit=<u>", "/?lang=<x>&text=<y>&site=<b>", "/wall"):
        answer = await run.http.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for bad in ("<script>alert", "<img", "<b>", "<i>", "<u>", "<x>", "<y>", "style=", "onclick="):
            assert bad not in answer.text
        assert "&lt;script&gt;" in answer.text or "text=" in path
    run.http.cookies.clear()
    assert (await run.http.get("/")).text.startswith('<!doctype html>\n<html lang="zh-CN">')
    assert '<html lang="en">' in (await run.http.get("/?lang=en")).text
    for name, kind in {"wall.js": "javascript", "wall.css": "css", "icon.svg": "svg"}.items():
        answer = await run.http.get(f"/static/{name}")
        assert kind in answer.headers["content-type"]
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert (await run.http.get("/static/%2e%2e/page.py")).status_code == 404


async def test_a_live_picture_that_is_not_there(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.hls.live.FIRST_WAIT_S", 0.05)
    assert (await run.http.get("/hls/cam-1/live.m3u8")).status_code == 404
    assert (await run.http.get("/hls/cam-1/live-5.m4s")).status_code == 404
    assert run.console.pictures.readers == 1
