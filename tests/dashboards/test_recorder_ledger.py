"""The ledger of recorders: handing out, tokens, upkeep, checks before use, and what comes in by sheet."""

import io
import re
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from openpyxl import Workbook, load_workbook

from dashboards.people.rights import Duty, Person, Role
from domain.bus import TopicPartition
from domain.events import SessionOpened, Telemetry
from domain.registry import Registration
from domain.topics import REGISTRY
from domain.wire import decode_registration
from storage.office import accounts
from storage.office.accounts import DutyRow
from tests.dashboards.serving import Served, served

PEOPLE = {
    "keeper": (Duty(role=Role.ARCHIVE_MANAGER, unit_id="u1"),),
    "other": (Duty(role=Role.ARCHIVE_MANAGER, unit_id="u2"),),
    "operator": (Duty(role=Role.SITE_OPERATOR),),
    "zhang": (Duty(role=Role.OFFICER),),
    "li": (Duty(role=Role.OFFICER),),
}
CARD = "/recorders/bw-1"


class Many:
    """A door that lets in whoever a header names."""

    async def who(self, request: Request) -> Person | None:
        name = request.headers.get("x-who", "keeper")
        return Person(account_id=name, name=name, duties=PEOPLE[name], by="token")

    def knock(self, request: Request) -> None:
        pass


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, door=Many()) as running:
        for name in ("zhang", "li"):
            await _account(running, name)
        yield running


@pytest.fixture
async def http(site: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=20) as client:
        yield client


async def _account(site: Served, name: str) -> None:
    office, at = site.console.parts.office, site.clock.now()
    await accounts.create(office, name, login=name, name=name.title(), duties=[DutyRow("officer")], at=at)


async def post(http: httpx.AsyncClient, path: str, who: str = "keeper", **rest: object) -> httpx.Response:
    return await http.post(path, headers={"x-who": who}, **rest)  # type: ignore[arg-type]


async def get(http: httpx.AsyncClient, path: str, who: str = "keeper") -> httpx.Response:
    return await http.get(path, headers={"x-who": who})


async def begun(http: httpx.AsyncClient, policy: str = "zhanhe") -> None:
    said = {"recorder_id": "bw-1", "kind": "body_worn", "name": "一号", "unit_id": "u1", "policy": policy}
    assert (await post(http, "/recorders", data=said)).status_code == 303


async def registered(site: Served) -> Registration:
    found = None
    for partition in range(site.bus.partitions(REGISTRY.name)):
        async for record in site.bus.read(TopicPartition(REGISTRY.name, partition), 0):
            if record.key == "bw-1":
                found = decode_registration(record.value or b"")
    assert found is not None
    return found


async def test_a_token_is_shown_once_and_renewed_with_overlap(site: Served, http: httpx.AsyncClient) -> None:
    await begun(http)
    tokens = []
    for days in ("0", "3"):
        answer = await post(http, f"{CARD}/tokens", data={"overlap_days": days})
        (token,) = re.findall(r'id="new-token">([^<]+)<', answer.text)
        tokens.append(token)
        assert token not in (await get(http, CARD)).text
    said, now = await registered(site), site.clock.now()
    assert said.accepts(tokens[1], now)
    assert said.accepts(tokens[0], now.plus(2 * 86_400_000))
    assert not said.accepts(tokens[0], now.plus(4 * 86_400_000))
    await post(http, f"{CARD}/tokens", data={"overlap_days": "0"})
    said = await registered(site)
    assert not said.accepts(tokens[0], site.clock.now())
    assert not said.accepts(tokens[1], site.clock.now())
    refused = await post(http, f"{CARD}/tokens", data={"overlap_days": "999"})
    assert refused.status_code == 422
    lines = [line async for _, line in site.console.parts.ledger.read()]
    assert all(token.encode() not in line for token in tokens for line in lines)


async def test_whoever_has_a_recorder_sees_it_and_others_do_not(site: Served, http: httpx.AsyncClient) -> None:
    await begun(http)
    assert (await get(http, CARD, "zhang")).status_code == 404
    before = site.clock.now()
    assert (await post(http, f"{CARD}/holders", data={"account_id": "zhang"})).status_code == 303
    assert (await get(http, CARD, "zhang")).status_code == 200
    assert (await post(http, f"{CARD}/holders", data={"account_id": "li"})).status_code == 303
    assert (await get(http, CARD, "zhang")).status_code == 404
    assert (await get(http, CARD, "li")).status_code == 200
    now, officers = site.clock.now(), site.console.parts.officers
    assert officers("bw-1", now) == {"li"}
    assert officers("bw-1", before) == frozenset()
    assert (await post(http, f"{CARD}/holders", data={})).status_code == 303
    assert officers("bw-1", site.clock.now()) == frozenset()
    assert (await post(http, f"{CARD}/holders", data={"account_id": "nobody"})).status_code == 422
    page = (await get(http, CARD)).text
    assert page.index("Li") < page.index("Zhang"), "the newest stands first"


async def test_a_check_takes_the_devices_own_word(site: Served, http: httpx.AsyncClient) -> None:
    await begun(http)
    await post(http, f"{CARD}/holders", data={"account_id": "zhang"})
    now = site.clock.now()
    low = Telemetry(at=now, recorder_id="bw-1", device_at=now, battery_percent=9)
    await site.publish(low)
    async with httpx.AsyncClient(base_url=site.url) as client:
        while "9.0 %" not in (await get(client, CARD, "zhang")).text:
            pass
    ticked = {"point_works": "1", "point_battery": "1", "point_space": "1", "point_clock": "1"}
    assert (await post(http, f"{CARD}/checks", "zhang", data=ticked)).status_code == 303
    page = (await get(http, CARD)).text
    assert "不合格" in page, "a battery at 9 % is not well, whatever is ticked"
    assert "Z-AV 第七条" in page
    assert (await post(http, f"{CARD}/checks", "li", data=ticked)).status_code == 404
    lines = [line async for _, line in site.console.parts.ledger.read()]
    assert any(b"recorder.checked" in line and b"battery" in line for line in lines)


async def test_a_session_without_a_check_is_listed_until_there_was_one_before(
    site: Served, http: httpx.AsyncClient
) -> None:
    await begun(http)
    await post(http, f"{CARD}/holders", data={"account_id": "zhang"})
    await site.publish(SessionOpened(at=site.clock.now(), recorder_id="bw-1", session_id="s-1"))
    while "未经检查即开始记录" not in (page := (await get(http, "/recorders")).text):
        pass
    assert "Zhang" in page
    ticked = {"point_works": "1", "point_battery": "1", "point_space": "1", "point_clock": "1"}
    await post(http, f"{CARD}/checks", data=ticked)
    assert "未经检查即开始记录" in (await get(http, "/recorders")).text, "a check afterwards is none before"


async def test_out_of_service_and_back(site: Served, http: httpx.AsyncClient) -> None:
    await begun(http)
    assert (await post(http, f"{CARD}/entries", data={"what": "out_of_service", "note": ""})).status_code == 422
    for what, state in (("out_of_service", "suspended"), ("back", "active"), ("retired", "retired")):
        assert (await post(http, f"{CARD}/entries", data={"what": what, "note": "屏幕碎"})).status_code == 303
        assert (await registered(site)).state == state
    assert (await post(http, f"{CARD}/entries", data={"what": "back", "note": ""})).status_code == 422
    assert (await post(http, f"{CARD}/entries", data={"what": "issued", "note": "x"})).status_code == 422


async def test_who_may_not(http: httpx.AsyncClient) -> None:
    await begun(http)
    assert (await get(http, CARD, "other")).status_code == 404
    assert (await post(http, f"{CARD}/tokens", "other", data={})).status_code == 404
    assert (await post(http, f"{CARD}/tokens", "operator", data={})).status_code == 403
    answer = await post(http, "/recorders", "other", data={"recorder_id": "x", "kind": "body_worn", "unit_id": "u1"})
    assert answer.status_code == 422
    assert "一号" not in (await get(http, "/recorders", "other")).text


def sheet(rows: list[list[object]]) -> bytes:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


HEADER = ["recorder_id", "name", "unit_id", "policy", "bought_on"]


async def test_a_sheet_comes_in_whole_or_not_at_all(http: httpx.AsyncClient) -> None:
    await begun(http)
    rows: list[list[object]] = [
        ["bw-2", "二号", "u1", "wucheng", "2026-01-02"],
        ["bw-1", "again", "u1", "", ""],
        ["bw-3", "theirs", "u2", "", ""],
        ["bw-2", "twice", "u1", "", ""],
        ["BAD ID", "x", "u1", "nowhere", ""],
        ["bw-4", "x", "u1", "", "soon"],
    ]
    content = sheet([list(HEADER), *rows])
    answer = await post(http, "/recorders-import", files={"file": ("r.xlsx", content)})
    assert answer.status_code == 422
    faults = re.findall(r"<tr><td>(\d+)</td><td><code>(\w+)</code></td>", answer.text)
    wanted = [("3", "recorder_id"), ("4", "unit_id"), ("5", "recorder_id"), ("6", "policy"), ("7", "bought_on")]
    assert faults == wanted
    assert "bw-2" not in (await get(http, "/recorders")).text
    answer = await post(http, "/recorders-import", files={"file": ("r.xlsx", content)}, data={"good_only": "1"})
    assert answer.status_code == 200
    assert "已导入 1 行，共 6 行" in answer.text
    assert "二号" in (await get(http, "/recorders")).text


async def test_sites_and_cameras_come_in_as_drafts_and_go_out_again(site: Served, http: httpx.AsyncClient) -> None:
    text = (
        "site_id,site_name,party_name,credit_code,contact_name,contact_phone,camera_id,camera_name,point,url\n"
        "renhe,仁和,仁和门诊,91350100M000100Y43,王,+86 138,renhe-1,消毒间,定点,rtsp://admin:hunter2@10.0.0.5/1\n"
        "renhe,,,,,,renhe-2,=cmd|' /C calc'!A0,移动,\n"
        "shui,水疗馆,,,,,,,,\n"
    )
    answer = await post(http, "/premises-import", "operator", files={"file": ("s.csv", text.encode("gb18030"))})
    assert "已导入 3 行" in answer.text
    for path in ("/premises.csv", "/premises.xlsx"):
        assert b"hunter2" not in (await get(http, path, "operator")).content
    out = (await get(http, "/premises.csv", "operator")).content.decode("utf-8-sig")
    assert "'=cmd" in out
    assert "'+86 138" in out
    book = load_workbook(io.BytesIO((await get(http, "/premises.xlsx", "operator")).content))
    assert book.active is not None
    kinds = {cell.data_type for row in book.active.iter_rows() for cell in row if cell.value is not None}
    assert kinds == {"s"}
    page = (await get(http, "/premises/renhe/cameras/renhe-2", "operator")).text
    assert "=cmd" in page
    assert "'=cmd" not in page.replace("&#39;", "'")
    again = await post(http, "/premises-import", "operator", files={"file": ("s.csv", out.encode())})
    assert again.status_code == 422
    assert "编号已被使用" in again.text


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(40_000_000))
    return out.getvalue()


def laughing() -> bytes:
    """A sheet whose XML names entities of entities."""
    whole, out = sheet([["recorder_id"], ["x"]]), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as other:
        for info in archive.infolist():
            data = archive.read(info)
            if info.filename.endswith("sheet1.xml"):
                data = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">]>' + data.split(b"?>", 1)[-1]
            other.writestr(info.filename, data)
    return out.getvalue()


async def test_what_is_no_sheet_is_refused(http: httpx.AsyncClient) -> None:
    wide = ",".join(f"c{number}" for number in range(100)).encode()
    contents = [
        *(b"", b"PK\x03\x04nonsense", bomb(), laughing(), wide, b"a,a\n1,2\n", b"\x00\xff\xfe\x00"),
        b"recorder_id\n" + b"x\n" * 6000,
        b"recorder_id,serial\nx," + b"y" * 5000,
        bytes(2_000_001),
    ]
    for content in contents:
        answer = await post(http, "/recorders-import", files={"file": ("x.xlsx", content)})
        assert answer.status_code == 422, content[:40]
        assert 'role="alert"' in answer.text
    unknown = await post(http, "/recorders-import", files={"file": ("x.csv", b"recorder_id,colour\nx,red\n")})
    assert "colour" in unknown.text
