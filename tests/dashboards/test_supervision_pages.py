"""Supervision over HTTP: figures of a real site, a draw that can be done again, forms, and leads with their times."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from openpyxl import load_workbook

from dashboards.supervision.schedule import schedule, span_of
from domain.clock import Instant
from domain.findings import Finding, Message
from domain.registry import Registration
from domain.wire import encode
from policies import load
from storage.ledger.merkle import Frontier, leaf_hash
from storage.office import supervision
from storage.office.drawing import Item, draw
from storage.office.supervision import Draw, Result
from tests.dashboards.footage_house import SECONDS, House, fill, house

DAYS = {"from": "2026-03-01", "to": "2026-03-31"}
DRAW = {"check": "wucheng/on_site", "first": "2026-01-01", "last": "2026-06-30", "count": "5"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    asyncio.run(fill(folder))
    return folder


@pytest.fixture
async def here(filled: Path, tmp_path: Path) -> AsyncIterator[House]:
    async with house(filled, tmp_path) as one:
        yield one


async def test_the_figures_are_those_of_the_store(here: House) -> None:
    gap = Finding(
        id="0" * 32,
        kind="recording.gap",
        status="opened",
        severity="warning",
        recorder_id="dev-1",
        session_id="s1",
        began_at=here.end,
        detected_at=here.end,
        cause="battery",
        evidence={"seconds": float(SECONDS)},
        clauses=[],
        message=Message(key="recording.gap", params={}),
    )
    await here.here.catalog.upsert_finding(gap)
    told = (await here.get("li", "/api/v1/supervision", by="unit", **DAYS)).json()
    (east,) = told["groups"]
    assert (east["name"], east["sessions"], east["recorded_s"]) == ("east", 1, pytest.approx(SECONDS, abs=0.6))
    assert (told["whole"]["missing_s"], east["gaps"]["battery"]["count"]) == (SECONDS, 1)
    page = (await here.get("li", "/supervision", by="kind", **DAYS)).text
    assert "电量耗尽 <" in page or "电量" in page
    book = load_workbook(io.BytesIO((await here.get("li", "/supervision.xlsx", **DAYS)).content))
    rows = list(book.worksheets[0].iter_rows(values_only=True))
    assert (rows[2][0], rows[2][1], rows[3][0]) == ("合计", 1, "east")
    assert (await here.get("qian", "/api/v1/supervision", **DAYS)).json()["whole"]["sessions"] == 0  # of another unit
    assert (await here.get("zhang", "/supervision")).status_code == 403
    assert (await here.get("li", "/supervision", by="colour")).status_code == 422
    assert (await here.get("li", "/supervision", **{"from": "9999-12-31", "to": "9999-12-31"})).status_code == 422
    assert (await here.get("li", "/supervision", **{"from": "0001-01-01", "to": "0001-01-01"})).status_code == 422
    assert (await here.get("li", "/supervision", **{"from": "2020-01-01", "to": "2026-01-01"})).status_code == 422


async def test_a_draw_can_be_done_again_by_anybody_who_has_the_ledger(here: House) -> None:
    answer = await here.post("li", "/supervision/draws", DRAW)
    assert answer.status_code == 303, answer.text.partition('id="error">')[2][:200]
    where = answer.headers["location"]
    (listed,) = (await here.get("li", f"{where}/population.txt")).text.splitlines(keepends=True)
    assert listed == "east\tdev-1/s1\n"
    population, drawn = await here.acts("check.")
    assert population.body["population_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    frontier = Frontier()  # the seed from the lines alone, as somebody else would reckon it
    async for _, line in here.ledger.read(0, drawn.body["entry"] + 1):
        frontier.add(leaf_hash(line))
    assert frontier.root().hex() == drawn.body["seed"]
    again = draw([Item("east", "dev-1/s1")], drawn.body["seed"], 5)
    assert drawn.body["drawn"] == [item.name for item in again]
    assert drawn.body["seed"] in (await here.get("li", where)).text
    assert (await here.get("qian", where)).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"check": "wucheng/none"},
        {"check": "../x/y"},
        {"count": "0"},
        {"first": "never"},
        {"first": "2027-01-01"},
        {"last": "9999-12-31"},
    ],
)
async def test_what_cannot_be_drawn_is_said_and_nothing_is_noted(here: House, changes: dict[str, str]) -> None:
    assert (await here.post("li", "/supervision/draws", DRAW | changes)).status_code == 422
    assert await here.acts("check.") == []


async def test_the_form_has_the_points_of_the_article_and_stays_as_filled_in(here: House) -> None:
    where = (await here.post("li", "/supervision/draws", DRAW)).headers["location"]
    form = (await here.get("li", where, item="dev-1/s1")).text
    check = next(one for one in load("wucheng").checks if one.id == "on_site")
    assert len(check.points) == 4
    assert all(point in form for point in check.points)
    answers = {
        "item": "dev-1/s1",
        "verdict0": "ok",
        "verdict1": "problem",
        "verdict2": "ok",
        "verdict3": "not_applicable",
    }
    assert (await here.post("li", f"{where}/results", answers)).status_code == 422  # a problem needs words
    notes = [("note", note) for note in ("", "未出示证件", "", "")]
    sent = await here.client.post(
        f"{where}/results",
        content=str(httpx.QueryParams([*answers.items(), *notes])),
        headers={"x-name": "li", "content-type": "application/x-www-form-urlencoded"},
    )
    assert sent.status_code == 303
    assert "未出示证件" in (await here.get("li", where)).text
    assert (await here.post("li", f"{where}/results", answers | {"item": "dev-9/s1"})).status_code == 422
    (result,) = await here.acts("check.result")
    assert result.body["result"]["answers"][1]["verdict"] == "problem"
    one = where.rpartition("/")[2]
    assert len((await supervision.results_of(here.office, [one]))[one]) == 1


def made(check: str, day: str, **rest: object) -> Draw:
    start = Instant.parse(f"{day}T00:00:00+08:00")
    item = Item("east", "dev-1/s1")
    return Draw(
        id=day,
        policy="wucheng",
        check_id=check,
        unit_id="",
        from_at=start,
        to_at=start.plus(86_400_000),
        population=(item,),
        population_sha256="",
        entry=0,
        seed="",
        drawn=(item,),
        by="li",
        by_name="李",
        drawn_at=start,
    )


def test_checks_are_due_by_half_years_and_overdue_after_them() -> None:
    assert span_of(date(2026, 6, 30), 6) == (date(2026, 1, 1), date(2026, 6, 30))
    assert span_of(date(2026, 7, 1), 6) == (date(2026, 7, 1), date(2026, 12, 31))
    assert span_of(date(2028, 2, 29), 12) == (date(2028, 1, 1), date(2028, 12, 31))
    now = Instant.parse("2026-08-01T12:00:00+08:00")
    results = {"2026-03-01": [Result(draw_id="2026-03-01", item="dev-1/s1", answers=(), by="li", by_name="李", at=now)]}

    def states(*draws: Draw) -> dict[tuple[str, str], str]:
        listed = schedule([load("wucheng")], draws, results, now)
        return {(one.check.id, str(one.span.first)): one.state for one in listed}

    nothing = states()
    assert nothing["spot_check", "2026-01-01"] == "overdue"
    assert nothing["spot_check", "2026-07-01"] == "due"
    assert nothing["on_site", "2026-01-01"] == "none"  # 定期, no figure: never overdue
    some = states(made("spot_check", "2026-03-01"), made("spot_check", "2026-07-10"))
    assert some["spot_check", "2026-01-01"] == "done"
    assert some["spot_check", "2026-07-01"] == "begun"  # drawn, and nothing filled in


async def push(here: House, name: str, **changes: object) -> httpx.Response:
    lead = {"reference": "ZJ-1", "title": "疑似未戴口罩", "unit_id": "east", "due_at": "2026-03-05T18:00:00+08:00"}
    return await here.client.post("/api/v1/leads", json=lead | changes, headers={"x-name": name})


async def test_a_lead_is_pushed_once_given_to_somebody_and_handled(here: House) -> None:
    first = await push(here, "li")
    assert first.status_code == 201
    again = await push(here, "li", title="又一次")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    one = first.json()["id"]
    page = (await here.get("li", "/supervision/leads")).text
    assert "疑似未戴口罩" in page
    assert "已过时限" in page
    assert "1 条线索已过处置时限" in (await here.get("li", "/supervision")).text
    assert "疑似" not in (await here.get("zhang", "/supervision/leads")).text
    assert (await here.post("zhang", f"/supervision/leads/{one}/handle", {"outcome": "x"})).status_code == 404
    assert (await here.post("li", f"/supervision/leads/{one}/assign", {"assignee": "zhang"})).status_code == 303
    assert (await here.post("zhang", f"/supervision/leads/{one}/handle", {"outcome": " "})).status_code == 422
    assert (await here.post("zhang", f"/supervision/leads/{one}/handle", {"outcome": "已责令改正"})).status_code == 303
    assert (await here.post("li", f"/supervision/leads/{one}/handle", {"outcome": "再次"})).status_code == 422
    assert "逾期办结" in (await here.get("li", "/supervision/leads")).text
    assert [act.body["what"] for act in await here.acts("lead.")] == ["lead.received", "lead.assigned", "lead.handled"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"title": ""}, 422),
        ({"reference": " "}, 201),
        ({"due_at": "tomorrow"}, 422),
        ({"due_at": None}, 201),
        ({"colour": "red"}, 422),
        ({"title": "长" * 201}, 422),
        ({"title": "a\x00b"}, 422),
        ({"reference": "a\x00b"}, 422),
        ({"recorder_id": "长" * 201}, 422),
        ({"due_at": "0001-01-01T00:00:00+14:00"}, 422),
        ({"due_at": "9999-12-31T23:59:59-14:00"}, 422),
    ],
)
async def test_what_a_lead_must_say(here: House, changes: dict[str, object], status: int) -> None:
    assert (await push(here, "li", **changes)).status_code == status


async def test_a_lead_of_another_unit_is_not_for_everybody(here: House) -> None:
    assert (await push(here, "qian")).status_code == 404
    assert (await push(here, "sun")).status_code == 403
    one = (await push(here, "li", due_at=None)).json()["id"]
    assert (await here.get("qian", "/api/v1/leads")).json()["items"] == []
    refused = await here.post("li", f"/supervision/leads/{one}/assign", {"assignee": "zhang"})
    assert refused.status_code == 422  # it is handled within a set time: set it
    assert "due" in refused.text


async def test_cameras_are_drawn_with_the_points_of_their_own_article(here: House) -> None:
    camera = Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", unit_id="east", site_id="shop")
    await here.here.bus.publish("registry", "cam-1", encode(camera))
    async with asyncio.timeout(20):
        while "cam-1" not in here.console.fleet.recorders:  # noqa: ASYNC110 - the fold rings no bell
            await asyncio.sleep(0.02)
    where = (await here.post("li", "/supervision/draws", DRAW | {"check": "wucheng/off_site"})).headers["location"]
    made = await supervision.get_draw(here.office, where.rpartition("/")[2])
    assert made is not None
    assert [item.name for item in made.drawn] == ["cam-1"]  # and no recorder of an officer
    form = (await here.get("li", where, item="cam-1")).text
    check = next(one for one in load("wucheng").checks if one.id == "off_site")
    assert len(check.points) == 3
    assert all(point in form for point in check.points)
    other = (await here.post("li", "/supervision/draws", DRAW | {"check": "wucheng/spot_check"})).headers["location"]
    assert "dev-1" in (await here.get("li", f"{other}/population.txt")).text
    assert "cam-1" not in (await here.get("li", f"{other}/population.txt")).text
