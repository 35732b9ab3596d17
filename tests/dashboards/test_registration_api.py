"""Registration by programs: the same way as through the pages, and bodies that are none."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.people.doors import Open
from domain.probe import ProbeRequest, ProbeResult
from tests.dashboards.serving import Served, served

JPEG = b"\xff\xd8\xff\xe0picture"
CAMERA = "/api/v1/cameras/renhe-1"
LEDGER = "/api/v1/recorder-ledger"
SITE = {
    "name": "仁和",
    "party_name": "仁和门诊部",
    "address": "人民路1号",
    "unit_id": "u1",
    "contacts": [{"name": "王", "phone": "138"}],
}


async def look(request: ProbeRequest) -> ProbeResult:
    return ProbeResult(codec="h265", width=1920, height=1080, fps=25, picture=JPEG)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, door=Open("program"), probe=look) as running:
        yield running


@pytest.fixture
async def http(site: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=20) as client:
        yield client


async def ok(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_whole_way(http: httpx.AsyncClient) -> None:
    await ok(await http.put("/api/v1/sites/renhe", json=SITE))
    await ok(await http.put("/api/v1/sites/renhe", json={**SITE, "name": "仁和口腔"}))
    draft = {"camera_id": "renhe-1", "site_id": "renhe", "name": "一号", "url": "rtsp://a:hunter2@10.0.0.5/1"}
    begun = await ok(await http.post("/api/v1/cameras", json=draft), 201)
    assert begun["camera"]["url"] == "rtsp://10.0.0.5/1"
    assert {"confirmation.document", "notice.photo", "address.seen"} <= {gap["field"] for gap in begun["lacking"]}
    await ok(await http.put(f"{CAMERA}/basics", json={"place": "消毒间", "standard": "GB/T 28181"}))
    paper = (await ok(await http.post(f"{CAMERA}/papers", files={"file": ("x.jpg", JPEG)}), 201))["sha256"]
    signed = {"document": paper, "signed_on": "2026-01-05", "agency_signatory": "张", "party_signatory": "王"}
    await ok(await http.put(f"{CAMERA}/confirmation", json={**signed, "consents": ["安装", "记录内容"]}))
    await ok(await http.put(f"{CAMERA}/notice", json={"photo": paper, "posted_on": "2026-01-06", "where": "大门"}))
    for step in ("confirm", "notice"):
        await ok(await http.post(f"{CAMERA}/steps", json={"step": step}))
    refused = await http.post(f"{CAMERA}/steps", json={"step": "activate"})
    assert (refused.status_code, refused.json()["field"]) == (422, "address.seen")
    assert (await ok(await http.post(f"{CAMERA}/look")))["camera"]["seen"]["codec"] == "h265"
    done = await ok(await http.post(f"{CAMERA}/steps", json={"step": "activate"}))
    assert (done["camera"]["state"], done["lacking"]) == ("active", [])
    (listed,) = (await ok(await http.get("/api/v1/cameras?site_id=renhe")))["items"]
    assert listed["camera"]["camera_id"] == "renhe-1"
    (named,) = (await ok(await http.get("/api/v1/sites")))["items"]
    assert named["name"] == "仁和口腔"
    refused = await http.put(f"{CAMERA}/basics", json={"place": "elsewhere"})
    assert refused.status_code == 422, "in use"


async def test_the_document_of_the_api_has_it(http: httpx.AsyncClient) -> None:
    document = await ok(await http.get("/api/v1/openapi.json"))
    assert {"/api/v1/sites", "/api/v1/cameras", "/api/v1/recorder-ledger"} <= document["paths"].keys()
    assert "lacking" in document["components"]["schemas"]["CameraFile"]["properties"]


async def test_the_ledger(http: httpx.AsyncClient) -> None:
    card = {"recorder_id": "bw-1", "unit_id": "u1", "policy": "zhanhe", "model": "DSJ"}
    await ok(await http.post(LEDGER, json=card), 201)
    assert (await http.post(LEDGER, json=card)).status_code == 422
    token = (await ok(await http.post(f"{LEDGER}/bw-1/tokens", json={"overlap_days": 1})))["token"]
    assert token not in (await http.get(f"{LEDGER}/bw-1")).text
    missing = await http.post(f"{LEDGER}/bw-1/checks", json={"points": {"works": True}})
    assert missing.json()["field"] == "points.battery"
    points = dict.fromkeys(("works", "battery", "space", "clock"), True)
    check = await ok(await http.post(f"{LEDGER}/bw-1/checks", json={"points": points}))
    assert [point["id"] for point in check["points"]] == ["works", "battery", "space", "clock"]
    await ok(await http.post(f"{LEDGER}/bw-1/entries", json={"what": "maintained", "note": "换电池"}))
    changed = await ok(await http.put(f"{LEDGER}/bw-1", json={**card, "name": "一号", "state": "retired"}))
    assert changed["card"]["state"] == "active", "a state is decided, not written"
    assert [line["what"] for line in changed["lines"]] == ["changed", "maintained", "token", "added"]
    assert (await ok(await http.get("/api/v1/recorder-checks/owed"))) == {"items": []}


NONE: list[tuple[str, str, bytes, int]] = [
    ("PUT", "/api/v1/sites/renhe", b"[1]", 422),
    ("PUT", "/api/v1/sites/renhe", b'{"name": "\\ud800"}', 422),
    ("PUT", "/api/v1/sites/renhe", b'{"name": "a\\u0000b"}', 422),
    ("PUT", "/api/v1/sites/a%00b", b'{"name": "x"}', 422),
    ("PUT", "/api/v1/sites/renhe", b"[" * 20_000, 422),
    ("GET", "/api/v1/sites/a%00b", b"", 404),
    ("GET", "/api/v1/cameras/a%00b", b"", 404),
    ("GET", "/api/v1/cameras?colour=red", b"", 422),
    ("GET", f"{LEDGER}/a%00b", b"", 404),
    ("POST", "/api/v1/cameras", b'{"camera_id": "x", "site_id": "nowhere"}', 404),
    ("POST", "/api/v1/cameras", b'{"camera_id": "x", "site_id": "nowhere", "state": "active"}', 422),
    ("PUT", "/api/v1/cameras/none/basics", b"{}", 404),
    ("POST", "/api/v1/cameras/none/steps", b'{"step": "fly"}', 422),
    ("POST", LEDGER, b'{"recorder_id": "x", "unit_id": 7}', 422),
    ("POST", LEDGER, b'{"recorder_id": "x", "policy": "nowhere"}', 422),
    ("POST", f"{LEDGER}/none/tokens", b'{"overlap_days": 1e999}', 422),
]


async def test_bodies_that_are_none(http: httpx.AsyncClient) -> None:
    for method, path, body, status in NONE:
        answer = await http.request(method, path, content=body)
        assert answer.status_code == status, (path, body[:40], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
