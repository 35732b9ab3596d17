"""Requests for footage over HTTP: asked, decided by whom the policy names, viewed or fetched once, and registered."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from openpyxl import load_workbook

from domain.clock import Instant
from domain.errors import LedgerUnavailable
from storage.ledger.entry import decode
from storage.office import recorders, requests
from storage.office.accounts import DutyRow
from storage.office.recorders import Card
from tests.dashboards.footage_house import House, fill, house
from tests.dashboards.visitors import visitor

PDF = b"%PDF-1.4 letter"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {policy: tmp_path_factory.mktemp(policy) for policy in ("wucheng", "zhanhe", "zhuhui")}
    for policy, folder in folders.items():
        asyncio.run(fill(folder, policy))
    return folders


@pytest.fixture
async def here(filled: dict[str, Path], tmp_path: Path) -> AsyncIterator[House]:
    async with house(filled["wucheng"], tmp_path) as one:
        yield one


@pytest.fixture
async def zhanhe(filled: dict[str, Path], tmp_path: Path) -> AsyncIterator[House]:
    async with house(filled["zhanhe"], tmp_path, "zhanhe") as one:
        yield one


async def asked(here: House, name: str, **changes: str) -> str:
    answer = await here.ask(name, **changes)
    assert answer.status_code == 303, answer.text.partition('id="error">')[2][:200]
    return answer.headers["location"]


def span(here: House) -> dict[str, str]:
    return {"from": here.start.rfc3339(), "to": here.end.rfc3339()}


async def test_asked_approved_and_played_by_whom_it_was_granted(here: House) -> None:
    playlist = "/hls/dev-1/playback.m3u8"
    assert (await here.get("zhang", playlist, **span(here))).status_code == 404
    where = await asked(here, "zhang")
    page = (await here.get("li", where)).text
    assert "我以“有关负责人”的身份作出决定" in page
    assert "W-AV 第二十五条" in page
    assert (await here.decide("li", where, acting_as="有关负责人")).status_code == 303
    answer = await here.get("zhang", playlist, **span(here))
    assert answer.status_code == 200
    part = next(line for line in answer.text.splitlines() if line.endswith(".m4s"))
    shown = await here.get("zhang", f"/hls/dev-1/{part}")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "video/mp4")
    assert (await here.get("dang", playlist, **span(here))).status_code == 200  # by office
    acts = await here.acts()
    assert [one.body["what"] for one in acts] == ["request.asked", "request.decided"]
    assert [one.body["by"] for one in acts] == ["zhang", "li"]


async def test_nobody_decides_on_their_own_and_nobody_elsewhere_does(here: House) -> None:
    where = await asked(here, "li")
    assert (await here.get("qian", where)).status_code == 404  # of another unit
    assert (await here.decide("qian", where, acting_as="有关负责人")).status_code == 404
    assert (await here.get("zhou", where)).status_code == 403
    refused = await here.decide("li", where, acting_as="有关负责人")
    assert refused.status_code == 422
    assert "nobody decides on a request of their own" in refused.text
    assert (await here.decide("dang", where, acting_as="有关负责人")).status_code == 403
    assert (await here.decide("zhao", where)).status_code == 422  # says not as whom
    assert (await here.decide("zhao", where, step="all", acting_as="有关负责人")).status_code == 422
    assert (await here.decide("zhao", where, decision="no", acting_as="有关负责人")).status_code == 422  # says not why
    assert [one.body["what"] for one in await here.acts()] == ["request.asked"]
    assert (
        await here.decide("zhao", where, acting_as="有关负责人", decision="no", reason="与本案无关")
    ).status_code == 303
    assert "与本案无关" in (await here.get("li", where)).text


async def test_a_grant_is_taken_back(here: House) -> None:
    where = await asked(here, "zhang")
    await here.decide("li", where, acting_as="有关负责人")
    assert (await here.post("zhang", f"{where}/revoke", {"reason": "x"})).status_code == 403
    assert (await here.post("li", f"{where}/revoke", {"reason": "案件移送"})).status_code == 303
    assert (await here.get("zhang", "/hls/dev-1/playback.m3u8", **span(here))).status_code == 404
    assert "案件移送" in (await here.get("zhang", where)).text


async def test_what_the_ledger_does_not_take_is_not_done(here: House, monkeypatch: pytest.MonkeyPatch) -> None:
    where = await asked(here, "zhang")

    async def away(_: object) -> list[int]:
        raise LedgerUnavailable("ledger: restarting")

    with monkeypatch.context() as patched:
        patched.setattr(here.ledger, "append", away)
        assert (await here.decide("li", where, acting_as="有关负责人")).status_code == 503
        assert (await here.ask("zhang")).status_code == 503
    (kept,) = await requests.newest(here.office)
    assert kept.request.state == "asked"


async def made(here: House, where: str) -> str:
    """Wait until a copy is made, or cannot be."""
    async with asyncio.timeout(60):
        while True:
            text = (await here.get("zhang", f"/parts{where}")).text
            if "data-again" not in text:
                return text
            await asyncio.sleep(0.05)


async def test_a_copy_is_made_fetched_once_and_proves_itself(here: House, tmp_path: Path) -> None:
    where = await asked(here, "zhang", want="evidence_copy")
    other = await asked(here, "zhao", reason="另一件事")
    assert (await here.post("zhang", f"{where}/copy")).status_code == 404  # nothing is made before it is granted
    await here.decide("li", where, acting_as="本机构负责人")
    assert "只能提取一次" in await made(here, where)
    assert (await here.post("li", f"{where}/copy")).status_code == 422  # it is for who asked
    before = await here.ledger.size()
    answer = await here.post("zhang", f"{where}/copy")
    assert answer.status_code == 200
    (told,) = await here.acts("request.delivered")
    assert (told.body["by"], await here.ledger.size()) == ("zhang", before + 1)
    assert (await here.post("zhang", f"{where}/copy")).status_code == 404
    assert (await here.get("zhang", "/hls/dev-1/playback.m3u8", **span(here))).status_code == 404  # a copy is no view

    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    one = where.rpartition("/")[2]
    proved = await _verify(tmp_path / one)
    assert proved.returncode == 0, proved.stdout
    package = json.loads((tmp_path / one / "package.json").read_text(encoding="utf-8"))
    assert package["request"]["application"] == one
    assert package["request"]["approved_by"] == "李主任（本机构负责人）"
    assert package["request"]["by"] == "张三"
    assert package["request"]["clauses"] == ["W-AV 第三十条"]
    lines = (tmp_path / one / "ledger/entries.ndjson").read_text(encoding="utf-8")
    assert one in lines
    assert "request.decided" in lines
    assert other.rpartition("/")[2] not in lines  # who else asked for it is nobody's business
    sheet = (tmp_path / one / "sheet.html").read_text(encoding="utf-8")
    assert f"系统内审批，申请 {one}" in sheet


async def _verify(package: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(package / "verify.py")]
    return await asyncio.to_thread(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    )


async def test_what_is_granted_as_evidence_is_held(here: House) -> None:
    where = await asked(here, "zhang", want="evidence_copy")
    await here.decide("li", where, acting_as="本机构负责人")
    (line,) = await here.ledger.of_kinds(["hold"])
    held = decode(line[1])
    assert (held.session_id, held.body["origin"], held.body["ref"]) == ("s1", "case", where.rpartition("/")[2])
    plain = await asked(here, "zhang", want="copy")
    await here.decide("li", plain, acting_as="本单位负责人")
    assert len(await here.ledger.of_kinds(["hold"])) == 1


async def test_a_handler_of_zhanhe_looks_at_their_own_at_once_and_at_others_by_leave(zhanhe: House) -> None:
    where = await asked(zhanhe, "zhang", who="handler")
    assert "下一步" in (await zhanhe.get("zhang", where)).text  # nothing shows that it is theirs: somebody says so
    day_before = zhanhe.start.plus(-86_400_000)
    await recorders.add_card(zhanhe.office, Card(recorder_id="dev-1", policy="zhanhe"), by="dang", at=day_before)
    await recorders.issue(zhanhe.office, "dev-1", "zhang", by="dang", at=day_before)
    await zhanhe.console.registering.holders.look()
    own = await asked(zhanhe, "zhang", who="handler")
    assert "下一步" not in (await zhanhe.get("zhang", own)).text
    assert (await zhanhe.get("zhang", "/hls/dev-1/playback.m3u8", **span(zhanhe))).status_code == 200
    assert [act.body["what"] for act in await zhanhe.acts()] == ["request.asked", "request.asked"]


async def test_a_fetch_that_broke_off_may_be_done_again(here: House) -> None:
    where = await asked(here, "zhang", want="copy")
    await here.decide("li", where, acting_as="本单位负责人")
    await made(here, where)
    one = where.rpartition("/")[2]

    begun, asked_for = asyncio.Event(), 0

    async def receive() -> dict[str, object]:
        nonlocal asked_for
        asked_for += 1
        if asked_for == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message.get("body"):
            begun.set()
            await asyncio.Event().wait()  # a line that takes nothing more

    headers = [(b"x-name", b"zhang"), (b"host", b"console"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope: dict[str, object] = {
        "type": "http",
        "method": "POST",
        "path": f"{where}/copy",
        "raw_path": f"{where}/copy".encode(),
    }
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
    scope |= {"server": ("console", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"}}
    async with asyncio.timeout(20):
        await here.app(scope, receive, send)  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        while not (kept := await requests.get(here.office, one)) or kept.request.state != "granted":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert kept.request.broken == 1
    assert (await here.post("zhang", f"{where}/copy")).status_code == 200


async def test_a_copy_that_cannot_be_made_says_why(here: House) -> None:
    where = await asked(here, "zhang", want="copy")
    (stored,) = (await here.here.catalog.list_segments(recorder_id="dev-1", limit=1)).items
    path = next((here.here.folder / "store").rglob(stored.key.rpartition("/")[2]))
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    await here.decide("li", where, acting_as="本单位负责人")
    assert "not those that the ledger tells of" in await made(here, where)
    assert [one.kind for one in await here.acts("request.delivered")] == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"matter": ""}, "matter"),
        ({"to": "yesterday"}, "to"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "to"),
        ({"who": "nobody"}, "who"),
        ({"want": "all"}, "want"),
        ({"recorder": "../x"}, "recorder"),
        ({"who": "party"}, "applicant"),
        ({"session": "s2"}, "session_id"),
    ],
)
async def test_what_is_missing_is_named_and_nothing_is_lost(here: House, changes: dict[str, str], field: str) -> None:
    name = "li" if field == "session_id" else "zhang"  # who may search is told that there is no such footage
    answer = await here.ask(name, **{"reason": "<b>核查</b>", **changes})
    assert answer.status_code == 422
    assert field in answer.text
    assert "〔2026〕12号" in answer.text or field == "matter"
    assert "<b>核查" not in answer.text
    assert await here.acts() == []


async def test_zhanhe_lets_an_authority_look_when_its_papers_were_found_right(zhanhe: House) -> None:
    outside = {"who": "authority", "applicant": "王检察官", "organisation": "区检察院"}
    assert (await zhanhe.ask("dang", **outside)).status_code == 422
    files = {"paper1": ("letter.pdf", PDF), "paper2": ("id.pdf", PDF + b"2")}
    outside |= {"paper1_label": "单位介绍信", "paper2_label": "有效证件"}
    answer = await zhanhe.ask("dang", files=files, **outside)
    assert answer.status_code == 303, answer.text.partition('id="error">')[2][:200]
    where = answer.headers["location"]
    page = (await zhanhe.get("li", where)).text
    assert "核实材料" in page
    paper = page.partition(f'href="{where}/papers/')[2].partition('"')[0]
    fetched = await zhanhe.get("li", f"{where}/papers/{paper}")
    assert (fetched.content, fetched.headers["content-disposition"].partition(";")[0]) == (PDF, "attachment")
    assert (await zhanhe.get("li", f"{where}/papers/{'0' * 64}")).status_code == 404
    assert (await zhanhe.decide("li", where, step="verify")).status_code == 303
    assert (await zhanhe.get("dang", where)).text.count("有效") > 0


async def test_zhanhe_gives_a_party_no_copy_and_says_by_which_article(zhanhe: House) -> None:
    answer = await zhanhe.ask("dang", who="party", want="copy", applicant="某店")
    assert answer.status_code == 422
    assert "Z-AC 第七条" in answer.text


async def test_two_steps_take_two_people(filled: dict[str, Path], tmp_path: Path) -> None:
    async with house(filled["zhuhui"], tmp_path, "zhuhui") as here:
        where = await asked(here, "zhang", want="copy")
        assert (await here.decide("li", where, acting_as="执法机构负责人")).status_code == 422  # reviewed first
        assert (await here.decide("li", where, step="review", acting_as="审核人")).status_code == 303
        assert (await here.decide("li", where, acting_as="执法机构负责人")).status_code == 422
        assert (await here.decide("zhao", where, acting_as="执法机构负责人")).status_code == 303
        one = await requests.get(here.office, where.rpartition("/")[2])
        assert one is not None
        assert one.request.state == "granted"


async def test_the_register_is_read_from_the_ledger_and_no_table_changes_it(here: House) -> None:
    where = await asked(here, "zhang", reason="=HYPERLINK(1)")
    await here.decide("li", where, acting_as="有关负责人")
    await here.get("zhang", "/hls/dev-1/playback.m3u8", **span(here))
    page = await here.get("zhang", "/hls/dev-1/playback.m3u8", **span(here))
    part = next(line for line in page.text.splitlines() if line.endswith(".m4s"))
    await here.get("zhang", f"/hls/dev-1/{part}")
    await here.office.write(lambda connection: connection.exec_driver_sql("DELETE FROM requests"))
    text = (await here.get("sun", "/requests/register")).text
    assert "张三" in text
    assert "李主任（有关负责人）" in text
    one = where.rpartition("/")[2]
    assert text.count(one) >= 2  # the request, and the viewing under it
    book = load_workbook(io.BytesIO((await here.get("sun", "/requests/register.xlsx")).content))
    cells = [cell for row in book.worksheets[0].iter_rows() for cell in row if cell.value == "=HYPERLINK(1)"]
    assert [cell.data_type for cell in cells] == ["s"]
    assert (await here.get("zhang", "/requests/register")).status_code == 403
    assert "张三" not in (await here.get("qian", "/requests/register")).text
    assert (await here.get("sun", "/requests/register", **{"from": "2026-13-01"})).status_code == 422


async def test_forms_with_files_pass_the_real_door_with_their_token_and_not_without(
    filled: dict[str, Path], tmp_path: Path
) -> None:
    async with house(filled["zhanhe"], tmp_path, "zhanhe", real_door=True) as here:
        keeper = await visitor(here.office, DutyRow("archive_manager"))
        form = {
            "recorder": "dev-1",
            "session": "s1",
            **span(here),
            "who": "authority",
            "want": "view",
            "reason": "办案",
        }
        form |= {"matter": "12号", "applicant": "王检察官", "paper1_label": "单位介绍信", "paper2_label": "有效证件"}
        files = {"paper1": ("letter.pdf", PDF), "paper2": ("id.pdf", PDF + b"2")}

        async def send(**more: str) -> httpx.Response:
            return await here.client.post("/requests/new", data=form | more, files=files, headers=keeper.cookie)

        assert (await send()).status_code == 403
        assert await here.acts() == []
        sent = await send(csrf=keeper.csrf)
        assert sent.status_code == 303
        head = await visitor(here.office, DutyRow("supervisor", "east"))
        decided = await here.client.post(
            f"{sent.headers['location']}/decide",
            data={"step": "verify", "decision": "yes", "csrf": head.csrf},
            headers=head.cookie,
        )
        assert decided.status_code == 303
        assert [act.body["by"] for act in await here.acts()] == [keeper.account_id, head.account_id]


async def test_the_api_says_the_same(here: House) -> None:
    body = {
        "recorder_id": "dev-1",
        "session_id": "s1",
        **span(here),
        "who": "staff",
        "want": "view",
        "reason": "核查",
        "matter": "12号",
    }

    async def post(name: str, path: str, value: object) -> httpx.Response:
        return await here.client.post(path, json=value, headers={"x-name": name})

    assert (await post("zhang", "/api/v1/requests", body | {"more": 1})).status_code == 422
    created = await post("zhang", "/api/v1/requests", body)
    assert created.status_code == 201
    where = created.headers["location"]
    said = {"step": "approve", "agrees": True, "acting_as": "有关负责人"}
    assert (await post("zhang", f"{where}/decision", said)).status_code == 403
    assert (await post("li", f"{where}/decision", said)).json()["shown"] == "granted"
    far = body | {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}
    assert (await post("zhang", "/api/v1/requests", far)).status_code == 422
    listed = (await here.get("zhang", "/api/v1/requests")).json()["items"]
    assert [one["application"]["id"] for one in listed] == [where.rpartition("/")[2]]
    assert (await here.get("qian", "/api/v1/requests")).json()["items"] == []
    now = Instant.parse("2100-01-01T00:00:00Z").rfc3339()
    lines = await here.get("sun", "/api/v1/requests/register", **{"from": here.start.rfc3339(), "to": now})
    assert [one["number"] for one in lines.json()["requests"]] == [1]
